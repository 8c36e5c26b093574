"""What travels: records, the codec and the error tree. Imports nothing of ours."""
