"""Drives the fake account as the aws command line does: through botocore.

Prints one JSON object a call: what was answered, or the error's code as botocore read it.
"""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

template, group, zone, queue, key = sys.argv[1:]
once = Config(retries={"total_max_attempts": 1})


def said(name, call, **asked):
    out = {"call": name}
    try:
        answer = call(**asked)
        answer.pop("ResponseMetadata", None)
        out["answer"] = answer
    except ClientError as e:
        out["code"] = e.response["Error"]["Code"]
    print(json.dumps(out, default=str))
    return out.get("answer", {})


def client(service):
    return boto3.client(service, config=once)


ec2 = client("ec2")
said("ec2 read", ec2.describe_volumes, VolumeIds=["vol-data-01"])
launched = said("ec2 change", ec2.run_instances, MinCount=1, MaxCount=1, LaunchTemplate={"LaunchTemplateId": template, "Version": "1"})
instance = launched["Instances"][0]["InstanceId"]
said("ec2 error", ec2.attach_volume, VolumeId="vol-data-01", InstanceId="i-none", Device="/dev/sdf")

elb = client("elbv2")
said("elbv2 change", elb.register_targets, TargetGroupArn=group, Targets=[{"Id": instance}])
said("elbv2 read", elb.describe_target_health, TargetGroupArn=group)
said("elbv2 error", elb.describe_target_health, TargetGroupArn=group + "0")

route53 = client("route53")
record = {"Name": "a.example.com", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}
batch = {"HostedZoneId": zone, "ChangeBatch": {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}}
said("route53 change", route53.change_resource_record_sets, **batch)
said("route53 read", route53.list_resource_record_sets, HostedZoneId=zone)
said("route53 error", route53.change_resource_record_sets, **batch)

sqs = client("sqs")
message = said("sqs read", sqs.receive_message, QueueUrl=queue)["Messages"][0]
said("sqs change", sqs.delete_message, QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
said("sqs error", sqs.receive_message, QueueUrl=queue + "-none")

kms = client("kms")
said("kms read", kms.describe_key, KeyId=key)
said("kms error", kms.create_grant, KeyId=key, GranteePrincipal="arn:aws:iam::123456789012:role/x", Operations=["Decrypt"], DryRun=True)

# These only tell: the account has no change of theirs.
cloudwatch = client("cloudwatch")
said("cloudwatch read", cloudwatch.describe_alarms, ActionPrefix="arn:aws:automate")
said("cloudwatch error", cloudwatch.delete_alarms, AlarmNames=["sys"])

scaling = client("autoscaling")
said("autoscaling read", scaling.describe_auto_scaling_instances)
said("autoscaling error", scaling.describe_account_limits)

quotas = client("service-quotas")
said("service-quotas read", quotas.get_service_quota, ServiceCode="ec2", QuotaCode="L-1216C47A")
said("service-quotas error", quotas.get_service_quota, ServiceCode="ec2", QuotaCode="L-NONE")

iam = client("iam")
role = "arn:aws:iam::123456789012:role/"
said("iam read", iam.simulate_principal_policy, PolicySourceArn=role + "relight", ActionNames=["ec2:RunInstances"])
said("iam error", iam.simulate_principal_policy, PolicySourceArn=role + "other", ActionNames=["ec2:RunInstances"])

outposts = client("outposts")
said("outposts read", outposts.list_assets, OutpostIdentifier="arn:aws:outposts:eu-west-1:123456789012:outpost/op-1")
said("outposts error", outposts.list_asset_instances, OutpostIdentifier="op-none")

sts = client("sts")
said("sts read", sts.get_caller_identity)
said("sts error", sts.get_session_token)
