"""A local S3 server for tests."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

SECRET = "do-not-tell-anyone"


@contextmanager
def s3_server(*buckets: str) -> Iterator[dict[str, str]]:
    """The storage options of a server that has these buckets."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    try:
        for bucket in buckets:
            request = urllib.request.Request(f"{endpoint}/{bucket}", method="PUT")
            urllib.request.urlopen(request).close()
        yield {
            "aws_access_key_id": "key", "aws_secret_access_key": SECRET,
            "aws_region": "us-east-1", "aws_endpoint": endpoint, "allow_http": "true",
        }  # fmt: skip
    finally:
        server.stop()
