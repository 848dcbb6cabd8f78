"""A cloud: where boto3 sends its calls, and what is true of that place.

AWS and the local cloud are both a `Cloud`. They differ in values only, of which the endpoint's URL
is the one that boto3 sees. What a cloud refuses is turned into the workbench's own errors here.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from workbench.errors import CloudError, NotAvailable, Unreachable

if TYPE_CHECKING:
    from workbench.registry.api import Registry
    from workbench.registry.model import Model

ROLE, IMAGE, BUCKET = "WORKBENCH_ROLE_ARN", "WORKBENCH_IMAGE", "WORKBENCH_BUCKET"
OPERATOR_ROLE = "WORKBENCH_OPERATOR_ROLE_ARN"
SUBNETS, SECURITY_GROUPS = "WORKBENCH_SUBNETS", "WORKBENCH_SECURITY_GROUPS"
"""Environment variables that `aws` reads by default; the last two hold names between commas."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_READ_TIMEOUTS = {"lambda": 910}  # seconds to wait for an answer, where it is not 70
_SIGN_IN = "Sign in (aws configure, or aws sso login), or name another profile: aws(profile=...)."
_NOT_AVAILABLE = {  # what to do, and the codes that call for it
    _SIGN_IN: "ExpiredToken ExpiredTokenException RequestExpired UnrecognizedClientException "
    "InvalidClientTokenId InvalidAccessKeyId SignatureDoesNotMatch InvalidSignatureException "
    "MissingAuthenticationToken MissingAuthenticationTokenException RequestTimeTooSkewed",
    "Ask who looks after the account for permission, or use another profile.": (
        "AccessDenied AccessDeniedException UnauthorizedOperation OptInRequired 403"
    ),
}
_ADVICE = _NOT_AVAILABLE | {
    "Ask for more in Service Quotas, end what is not needed (workbench teardown --list), or "
    "choose less.": (
        "ResourceLimitExceeded LimitExceededException ServiceQuotaExceededException TooManyBuckets"
    ),
    "Too many calls at once: try again in a minute.": (
        "Throttling ThrottlingException TooManyRequestsException RequestLimitExceeded SlowDown"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """A place that understands AWS's calls.

    Attributes:
        name: What results name as their origin: "AWS", "local cloud".
        region: Its region.
        endpoint_url: Where calls go; None: to AWS's own addresses.
        profile: The profile of credentials; None: whatever boto3 finds.
        paid: Whether what runs there costs money.
        poll: Seconds between two looks at something that is on its way.
        minute: Seconds that autoscaling takes for a minute.
        role: The ARN of the role that endpoints run under; None: not known.
        image: The URI of the image that holds the model server; None: not known.
        bucket: The S3 bucket for models; None: one named after region and account.
        keys: Access key and secret; None: whatever boto3 finds.
        operator_role: The ARN of the role by which Lambda manages instances; None: not known.
        subnets, security_groups: Where managed instances are.
    """

    name: str = "AWS"
    region: str = "us-east-1"
    endpoint_url: str | None = None
    profile: str | None = None
    paid: bool = True
    poll: float = 5.0
    minute: float = 60.0
    role: str | None = None
    image: str | None = None
    bucket: str | None = None
    keys: tuple[str, str] | None = field(default=None, repr=False)
    operator_role: str | None = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """What a run there says of where it comes from."""
        return f"measured: {self.name}" + (f" {self.region}" if self.endpoint_url is None else "")

    def facts(self) -> dict[str, Any]:
        """Return what a run there keeps about the cloud, as JSON values; nothing secret."""
        return {"name": self.name, "region": self.region, "paid": self.paid}

    def value(self) -> "Cloud":
        """Return the cloud as a plain value, which another process can use."""
        return Cloud(**{each.name: getattr(self, each.name) for each in fields(Cloud)})

    def client(self, service: str, *, pool: int = 10, attempts: int = 1) -> Any:  # noqa: ANN401 - boto3 builds its clients' classes
        """Return a boto3 client of a service, which is to be closed.

        It opens up to `pool` connections and makes a call `attempts` times at most: 1 is no retry,
        as a measurement wants it. It waits 70 s for an answer, because AWS asks clients of
        InvokeEndpoint to wait longer than the 60 s that a container has (botocore's model), and as
        much longer than its 15 minutes for one of Lambda's.

        Raises:
            NotAvailable: The profile does not exist.
        """
        from botocore.config import Config

        key, secret = self.keys or (None, None)
        here = urlsplit(self.endpoint_url or "").hostname in _LOOPBACK
        config = Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=10,
            read_timeout=_READ_TIMEOUTS.get(service, 70),
            max_pool_connections=pool,
            # a call of Lambda's may be quiet for minutes (API reference, Invoke: keep-alive)
            tcp_keepalive=True,
            proxies={} if here else None,  # a proxy of the network's does not reach this machine
        )
        with self.translate_errors(f"reach {service}"):
            return _session(self.profile).create_client(
                service,
                region_name=self.region,
                endpoint_url=self.endpoint_url,
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                config=config,
            )

    def push_models(self, registry: "Registry", groups: Sequence[str] | None = None) -> list[str]:
        """Bring groups of a registry here: see `workbench.cloud.registry_sync.push`."""
        from workbench.cloud import registry_sync

        return registry_sync.push(registry, self, groups=groups)

    def pull_models(
        self, registry: "Registry", groups: Sequence[str] | None = None
    ) -> "list[Model]":
        """Bring groups from here to a registry: see `workbench.cloud.registry_sync.pull`."""
        from workbench.cloud import registry_sync

        return registry_sync.pull(registry, self, groups=groups)

    @contextmanager
    def translate_errors(self, what: str) -> Iterator[None]:
        """Turn what boto3 raises inside the block, which was to do `what`, into our errors.

        Raises:
            NotAvailable: Credentials are missing, wrong or expired, or do not allow it.
            Unreachable: Nothing answers.
            CloudError: The cloud refused for another reason.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            answer = error.response.get("Error", {})
            raise _convert_response_error(self.name, what, answer) from error
        except BotoCoreError as error:
            raise _convert_connection_error(self, what, error) from error


def aws(
    profile: str | None = None,
    region: str | None = None,
    *,
    role: str | None = None,
    image: str | None = None,
    bucket: str | None = None,
) -> Cloud:
    """Return AWS as a cloud; nothing is called yet.

    Args:
        profile: Of the credentials; by default whatever boto3 finds.
        region: By default $AWS_REGION, $AWS_DEFAULT_REGION, the profile's, or us-east-1.
        role: The ARN of the role that endpoints run under, by default $WORKBENCH_ROLE_ARN.
        image: The URI of the image with the model server, by default $WORKBENCH_IMAGE.
        bucket: For models, by default $WORKBENCH_BUCKET, or one that is made.

    Raises:
        NotAvailable: There is no such profile.

    >>> aws(region="eu-central-1").origin
    'measured: AWS eu-central-1'
    """
    url = os.environ.get("AWS_ENDPOINT_URL") or None
    return Cloud(
        name="AWS" if url is None else url,
        region=region or _default_region(profile),
        endpoint_url=url,
        profile=profile,
        role=role or os.environ.get(ROLE),
        image=image or os.environ.get(IMAGE),
        bucket=bucket or os.environ.get(BUCKET),
        operator_role=os.environ.get(OPERATOR_ROLE),
        subnets=_names(SUBNETS),
        security_groups=_names(SECURITY_GROUPS),
    )


def _names(variable: str) -> tuple[str, ...]:
    return tuple(os.environ.get(variable, "").replace(",", " ").split())


def _default_region(profile: str | None) -> str:
    region = os.environ.get("AWS_REGION")
    with Cloud(profile=profile).translate_errors("find the region"):
        return region or _session(profile).get_config_variable("region") or "us-east-1"


def _session(profile: str | None) -> Any:  # noqa: ANN401 - botocore is not typed
    """Return what boto3 is made of: a session of its own, for credentials may have been renewed.

    Only the descriptions of services are shared: reading SageMaker's takes a third of a second.
    """
    from boto3.utils import lazy_call
    from botocore.session import Session

    session = Session(profile=profile)
    files = lazy_call("boto3.s3.inject.inject_s3_transfer_methods")  # upload_file and the like
    session.register("creating-client-class.s3", files)
    if profile is not None:
        session.get_scoped_config()  # raises where there is no such profile
    session.register_component("data_loader", _loader())
    return session


@cache
def _loader() -> Any:  # noqa: ANN401 - botocore is not typed
    from botocore.loaders import create_loader

    return create_loader()


def _convert_response_error(
    name: str, what: str, error: Mapping[str, Any]
) -> NotAvailable | CloudError:
    code = str(error.get("Code", "unknown"))
    message = str(error.get("Message", "")).strip() or "it gave no reason"
    said = f"{name} did not {what}. It said {code}: {message}"
    said += "" if said.endswith(".") else "."
    advice = next((each for each, codes in _ADVICE.items() if code in codes.split()), "")
    said = f"{said} {advice}".rstrip()
    return NotAvailable(said) if advice in _NOT_AVAILABLE else CloudError(said, code)


def _convert_connection_error(
    cloud: Cloud, what: str, error: Exception
) -> NotAvailable | CloudError:
    from botocore import exceptions

    signed_out = (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.ProfileNotFound,
        exceptions.SSOError,
        exceptions.TokenRetrievalError,
    )
    reason = " ".join(str(error).split()).rstrip(".")
    said = f"{cloud.name} could not {what}: {reason}."
    if isinstance(error, signed_out):
        return NotAvailable(f"{said} {_SIGN_IN}")
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return Unreachable(f"{said} Check the network, and that the cloud is running.")
    return CloudError(said)


def image_of(cloud: Cloud) -> str:
    """Return the URI of the image with the model server, or raise `NotAvailable`."""
    return _require(cloud, cloud.image, "the URI of an image with the model server", IMAGE)


def role_of(cloud: Cloud) -> str:
    """Return the ARN of the role that endpoints run under, or raise `NotAvailable`."""
    return _require(cloud, cloud.role, "the ARN of a role that SageMaker may take", ROLE)


def _require(cloud: Cloud, value: str | None, what: str, variable: str) -> str:
    if value is None:
        argument = variable.split("_")[1].lower()
        raise NotAvailable(
            f"{cloud.name} needs {what}: workbench.aws({argument}=...) or ${variable}."
        )
    return value
