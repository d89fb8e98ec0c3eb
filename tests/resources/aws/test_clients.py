"""Clients of AWS services: what they share in a process."""

from botocore.loaders import JSONFileLoader
from pytest import MonkeyPatch

from resources.aws.clients import AwsClients, _loader
from resources.settings.profile import Aws


def test_a_process_reads_each_service_model_once(monkeypatch: MonkeyPatch) -> None:
    """Each launch and sensor has its own clients, whose session would read the models again."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    read: list[str] = []
    load = JSONFileLoader.load_file

    def record(self: JSONFileLoader, path: str) -> object:
        read.append(path)
        return load(self, path)

    monkeypatch.setattr(JSONFileLoader, "load_file", record)
    _loader.cache_clear()
    for _ in range(2):
        clients = AwsClients(Aws(endpoint_url="http://127.0.0.1:9"))
        assert clients.of("sqs").meta.service_model.service_name == "sqs"
        assert clients.of("sqs").meta.endpoint_url == "http://127.0.0.1:9"
    models = [path for path in read if "/sqs/" in path and "service-2" in path]
    # The loader also asks for the model's additions, which need not exist.
    assert len(models) == len(set(models)) > 0
