"""A token for Amazon MSK with IAM, made by Amazon's own signer: pip install aws-msk-iam-sasl-signer-python.

[kafka] sasl_oauth_provider = "msk_iam:token" calls it when the last token is nearly over: they live for 15 minutes.
The signer finds the credentials as every program of AWS does: the environment, a profile, or the role of the machine.
"""

from __future__ import annotations

import os

from aws_msk_iam_sasl_signer import MSKAuthTokenProvider


def token() -> tuple[str, int]:
    """A token, and when it ends, milliseconds since epoch."""
    signed: tuple[str, int] = MSKAuthTokenProvider.generate_auth_token(os.environ["AWS_REGION"])
    return signed
