"""Access keys of a local cloud: each start makes its own."""

import secrets
import string
from base64 import b64encode
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key: its id, and the secret that requests are signed with."""

    id: str
    secret: str = field(repr=False)

    def environment(self, url: str, region: str) -> dict[str, str]:
        """Return the variables that send a program built on AWS's libraries to `url`."""
        return {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": self.id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
        }


def make_access_key() -> AccessKey:
    """Return a new random access key in AWS's form.

    >>> key = make_access_key()
    >>> len(key.id), key.id[:4], len(key.secret)
    (20, 'AKIA', 40)
    """
    # in base32, as AWS's are; those of lasting keys begin with AKIA (IAM user guide)
    letters = string.ascii_uppercase + "234567"
    name = "".join(secrets.choice(letters) for _ in range(16))
    # 30 bytes are 40 characters of base64, as long as AWS's
    return AccessKey(f"AKIA{name}", b64encode(secrets.token_bytes(30)).decode())
