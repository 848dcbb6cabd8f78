"""A cloud whose answers are played back by botocore's Stubber: what AWS does and we cannot see."""

from botocore.stub import ANY, Stubber

from workbench.cloud.aws import Cloud

ROLE = "arn:aws:iam::123456789012:role/workbench"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/workbench:1"
ENDPOINT = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/x"


class PlayedCloud(Cloud):
    """AWS, as told: `answer` and `refuse` say what the next call gets, in order."""

    def __init__(self, **facts):
        given = {"role": ROLE, "image": IMAGE, "bucket": "models", "poll": 0.0}
        super().__init__(keys=("key", "secret"), **given | facts)
        self.__dict__["stubbers"] = {}

    def value(self):
        return self

    def client(self, service, **_):
        return self.stubber(service).client

    def stubber(self, service):
        if service not in self.stubbers:
            client = super().client(service)
            client.close = lambda: None  # one client is lent again and again
            self.stubbers[service] = Stubber(client)
            self.stubbers[service].activate()
        return self.stubbers[service]

    def answer(self, service, operation, response=None, **expected):
        self.stubber(service).add_response(operation, response or {}, expected or None)

    def refuse(self, service, operation, code, message="because", status=400):
        self.stubber(service).add_client_error(operation, code, message, status)

    def done(self):
        for stubber in self.stubbers.values():
            stubber.assert_no_pending_responses()


def stored(cloud):
    cloud.answer("s3", "head_bucket", Bucket="models")
    cloud.answer("s3", "put_object", Bucket="models", Key=ANY, Body=ANY, Tagging=ANY)


def status(cloud, status, **more):
    facts = {
        "EndpointName": "x",
        "EndpointArn": ENDPOINT,
        "EndpointStatus": status,
        "CreationTime": 0,
        "LastModifiedTime": 0,
    }
    cloud.answer("sagemaker", "describe_endpoint", facts | more)


def created(cloud, upto=3):
    operations = (
        ("create_model", {"ModelArn": "arn:aws:sagemaker:us-east-1:123456789012:model/x"}),
        (
            "create_endpoint_config",
            {"EndpointConfigArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/x"},
        ),
        ("create_endpoint", {"EndpointArn": ENDPOINT}),
    )
    for operation, response in operations[:upto]:
        cloud.answer("sagemaker", operation, response)


def gone(cloud, operation, what="endpoint"):
    cloud.refuse("sagemaker", operation, "ValidationException", f'Could not find {what} "x".')


def torn_down(cloud, *, endpoint=True):
    if endpoint:
        status(cloud, "InService")
        cloud.answer("sagemaker", "delete_endpoint")
        status(cloud, "Deleting")
    gone(cloud, "describe_endpoint")
    cloud.answer("sagemaker", "delete_endpoint_config")
    cloud.answer("sagemaker", "delete_model")
    cloud.answer("s3", "list_objects_v2", Bucket="models", Prefix=ANY)
