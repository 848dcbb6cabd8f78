"""IAM of a local cloud: what clients ask before they deploy."""

from contextlib import closing


def test_the_role_of_the_cloud_exists_and_may_do_everything(cloud):
    with closing(cloud.client("iam")) as iam:
        role = iam.get_role(RoleName=cloud.role.rpartition("/")[2])["Role"]
        told = iam.simulate_principal_policy(
            PolicySourceArn=cloud.role,
            ActionNames=["sagemaker:CreateModel", "s3:GetObject"],
            ResourceArns=["arn:aws:s3:::a/*", "arn:aws:s3:::b/*"],
        )

    assert role["Arn"] == cloud.role
    services = role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"]
    assert "sagemaker.amazonaws.com" in services
    assert told["IsTruncated"] is False
    decided = [(each["EvalActionName"], each["EvalDecision"]) for each in told["EvaluationResults"]]
    assert decided == [("sagemaker:CreateModel", "allowed")] * 2 + [("s3:GetObject", "allowed")] * 2
