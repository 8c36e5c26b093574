"""Signs calls to Amazon Bedrock with AWS credentials (SigV4): pip install botocore.

[remote] credentials = "bedrock_sigv4:sign" asks it for each call. Credentials come from where every program of AWS
finds them: the environment, a profile, or the role of the machine; botocore renews those of a role.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session

_credentials = Session().get_credentials()
_signer = SigV4Auth(_credentials, "bedrock", os.environ["AWS_REGION"])


def sign(method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """The headers to add to a call. Only what AWS wants is signed: others may be altered on the way."""
    request = AWSRequest(method, url, data=body, headers={"content-type": headers.get("content-type", "")})
    _signer.add_auth(request)
    return {name: value for name, value in request.headers.items() if name.lower() != "content-type"}
