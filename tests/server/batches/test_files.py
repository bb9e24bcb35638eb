"""Files as clients see them."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from ingot.server.access.api_keys import make_key
from tests.server.batches.conftest import Client, MakeServer, jsonl, line


def test_a_file_is_kept_as_it_came(client: Client) -> None:
    content = bytes(range(256)) * 9000
    made = client.openai.files.create(file=("ünï.jsonl", content), purpose="batch")
    assert (made.bytes, made.filename, made.purpose) == (len(content), "ünï.jsonl", "batch")
    assert client.openai.files.retrieve(made.id) == made
    assert client.openai.files.content(made.id).content == content
    assert client.openai.files.delete(made.id).deleted
    for call in (
        client.openai.files.retrieve,
        client.openai.files.content,
        client.openai.files.delete,
    ):
        with pytest.raises(openai.NotFoundError):
            call(made.id)


def test_files_outlive_the_server_that_took_them(serve: MakeServer, tmp_path: Path) -> None:
    with serve() as client:
        made = client.openai.files.create(file=("a", b"abc"), purpose="batch")
    folder = tmp_path / "batches" / "files"
    assert {path.stat().st_mode & 0o77 for path in (folder, *folder.glob("*.jsonl"))} == {0}
    (folder / ".upload-x").write_bytes(b"broken off")
    (folder / f"file-{'0' * 32}.jsonl").write_bytes(b"half deleted")
    (folder / f"file-{'1' * 32}.json").write_bytes(b"{")
    with serve() as client:
        assert [one.id for one in client.openai.files.list()] == [made.id]
        assert client.openai.files.content(made.id).content == b"abc"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{made.id}.json", f"{made.id}.jsonl", f"file-{'1' * 32}.json"}


def test_files_are_listed_page_by_page(client: Client) -> None:
    made = [client.openai.files.create(file=("a", b"abc"), purpose="batch").id for _ in range(5)]
    batch = client.wait(client.begin([line("a")]).id)
    batch_files = {batch.input_file_id, batch.output_file_id}
    assert {one.id for one in client.openai.files.list(limit=2)} == {*made, *batch_files}
    results = client.openai.files.list(purpose="batch_output").data
    assert [one.id for one in results] == [batch.output_file_id]
    assert results[0].filename == f"{batch.id}_output.jsonl"


def test_a_file_in_use_is_kept(client: Client) -> None:
    lines = [line(f"r{n}", max_tokens=400, ignore_eos=True) for n in range(2000)]
    batch = client.begin(lines)
    with pytest.raises(openai.ConflictError, match="cancel it first"):
        client.openai.files.delete(batch.input_file_id)
    client.openai.batches.cancel(batch.id)
    client.wait(batch.id)
    assert client.openai.files.delete(batch.input_file_id).deleted


def test_a_key_sees_its_own_alone(serve: MakeServer, tmp_path: Path) -> None:
    keys = {name: make_key(name) for name in ("alice", "bob")}
    path = tmp_path / "keys.toml"
    path.write_text("\n".join(entry for _, entry in keys.values()))
    path.chmod(0o600)
    with serve(api_keys=path) as served:
        url = str(served.openai.base_url).removesuffix("/v1/")
        alice, bob = (Client(url, key) for key, _ in keys.values())
        batch = alice.wait(alice.begin([line("a")]).id)
        for file_id in (batch.input_file_id, batch.output_file_id):
            for call in (bob.openai.files.retrieve, bob.openai.files.content):
                with pytest.raises(openai.NotFoundError):
                    call(file_id)
            with pytest.raises(openai.NotFoundError):
                bob.openai.files.delete(file_id)
        for other in (bob.openai.batches.retrieve, bob.openai.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                other(batch.id)
        with pytest.raises(openai.NotFoundError):
            bob.openai.batches.create(
                input_file_id=batch.input_file_id,
                endpoint="/v1/completions",
                completion_window="24h",
            )
        assert bob.openai.files.list().data == bob.openai.batches.list().data == []
        usage = httpx.get(
            f"{url}/admin/activity", headers={"authorization": f"Bearer {keys['alice'][0]}"}
        ).json()["keys"]
        assert [one["requests"] for one in usage] == [1], "a batch counts in the key's usage"


def test_a_revoked_key_ends_its_batches(serve: MakeServer, tmp_path: Path) -> None:
    (alice, entry), (bob, other) = make_key("alice"), make_key("bob")
    path = tmp_path / "keys.toml"
    path.write_text(entry + other)
    path.chmod(0o600)
    with serve(api_keys=path) as served:
        client = Client(str(served.openai.base_url).removesuffix("/v1/"), alice)
        lines = [line(f"r{n}", max_tokens=30, ignore_eos=True) for n in range(3000)]
        batch = client.begin(lines)
        client.wait(batch.id, lambda one: one.request_counts.completed > 0)
    path.write_text(other)
    with serve(api_keys=path):
        deadline = time.monotonic() + 100
        record = tmp_path / "batches" / "batches" / f"{batch.id}.json"
        while '"status":"failed"' not in record.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert '"key_revoked"' in record.read_text()
    del bob


@pytest.mark.parametrize(
    ("limits", "status", "said"),
    [
        ({"batch_file_bytes": 4096}, 413, "larger than 4096 bytes"),
        ({"batch_key_bytes": 4096}, 429, "more than 4096 bytes"),
        ({"batch_total_bytes": 4096}, 507, "as many bytes"),
    ],
)
def test_bytes_are_bounded(
    serve: MakeServer, tmp_path: Path, limits: dict[str, int], status: int, said: str
) -> None:
    with serve(**limits) as client:
        client.openai.files.create(file=("a", b"x" * 2000), purpose="batch")
        with pytest.raises(openai.APIStatusError, match=said) as caught:
            client.openai.files.create(file=("a", b"x" * 5000), purpose="batch")
        assert caught.value.status_code == status
        client.openai.files.create(file=("a", b"x" * 2000), purpose="batch")
        assert len(list((tmp_path / "batches" / "files").iterdir())) == 4


def test_a_file_deleted_while_it_is_read_counts_until_it_is_closed(serve: MakeServer) -> None:
    size = 30_000_000  # more than the sockets' buffers hold
    with serve(batch_key_bytes=size) as client:
        made = client.openai.files.create(file=("a", b"x" * size), purpose="batch")
        url = f"{client.openai.base_url}files/{made.id}/content"
        with httpx.stream("GET", url, timeout=60) as reading:
            pieces = reading.iter_raw()
            first = next(pieces)
            assert client.openai.files.delete(made.id).deleted
            with pytest.raises(openai.RateLimitError, match="would take more than"):
                client.openai.files.create(file=("a", b"x"), purpose="batch")
            assert len(first) + sum(map(len, pieces)) == size
        deadline = time.monotonic() + 60
        while True:
            try:
                client.openai.files.create(file=("a", b"x" * size), purpose="batch")
                break
            except openai.RateLimitError:
                assert time.monotonic() < deadline
                time.sleep(0.01)


def test_the_number_of_files_is_bounded(serve: MakeServer) -> None:
    with serve(batch_key_files=2) as client:
        first = client.openai.files.create(file=("a", b"x"), purpose="batch")
        client.openai.files.create(file=("a", b"x"), purpose="batch")
        with pytest.raises(openai.RateLimitError, match="2 files are kept"):
            client.openai.files.create(file=("a", b"x"), purpose="batch")
        client.openai.files.delete(first.id)
        client.openai.files.create(file=("a", b"x"), purpose="batch")


@pytest.mark.parametrize(
    ("data", "files", "param"),
    [
        ({"purpose": "fine-tune"}, {"file": ("a", b"x")}, "purpose"),
        ({}, {"file": ("a", b"x")}, "purpose"),
        ({"purpose": "batch"}, {"other": ("a", b"x")}, "other"),
        ({"purpose": "batch", "size": "4"}, {"file": ("a", b"x")}, "size"),
        ({"purpose": "batch" * 300}, {"file": ("a", b"x")}, "purpose"),
        (
            {"purpose": "batch", "expires_after[anchor]": "created_at"},
            {"file": ("a", b"x")},
            "expires_after",
        ),
        (
            {
                "purpose": "batch",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "60",
            },
            {"file": ("a", b"x")},
            "expires_after",
        ),
    ],
)
def test_a_form_that_is_not_one_is_refused(
    client: Client, data: dict[str, str], files: Any, param: str
) -> None:
    answer = httpx.post(f"{client.openai.base_url}files", data=data, files=files)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_lifetime_may_be_given(client: Client) -> None:
    made = client.openai.files.create(
        file=("a", b"x"),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert made.expires_at == made.created_at + 3600


def test_pages_of_other_sites_may_not_upload(serve: MakeServer) -> None:
    with serve(cors_origins=("http://friend.example",)) as client:
        url = f"{client.openai.base_url}files"
        own = url.removesuffix("/v1/files")
        for origin, status in [
            ("http://evil.example", 403),
            ("null", 403),
            ("http://friend.example", 200),
            (own, 200),
        ]:
            answer = httpx.post(
                url,
                data={"purpose": "batch"},
                files={"file": ("a", b"x")},
                headers={"origin": origin},
            )
            assert answer.status_code == status, origin


def test_a_client_that_leaves_leaves_nothing(client: Client, tmp_path: Path) -> None:
    url = httpx.URL(str(client.openai.base_url))
    with socket.create_connection((url.host, url.port or 80)) as leaving:
        leaving.sendall(
            b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n"
            b"content-type: multipart/form-data; boundary=X\r\n\r\n"
            b'--X\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'
        )
        folder = tmp_path / "batches" / "files"
        deadline = time.monotonic() + 60
        while not list(folder.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    while list(folder.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_slow_client_is_disconnected(serve: MakeServer) -> None:
    with serve(body_timeout_s=0.3) as client:
        url = httpx.URL(str(client.openai.base_url))
        with socket.create_connection((url.host, url.port or 80), timeout=60) as slow:
            slow.sendall(
                b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n"
                b"content-type: multipart/form-data; boundary=X\r\n\r\n--X\r\n"
            )
            assert slow.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_second_server_does_not_use_the_folder(serve: MakeServer) -> None:
    with serve(), pytest.raises(Exception, match="is used for batches by process"), serve():
        pass


def test_jsonl_of_any_size_is_streamed(client: Client) -> None:
    lines = [line(f"r{n}", prompt="x" * 20_000) for n in range(400)]
    made = client.openai.files.create(file=("in.jsonl", jsonl(lines)), purpose="batch")
    assert made.bytes == len(jsonl(lines)) > 8_000_000
