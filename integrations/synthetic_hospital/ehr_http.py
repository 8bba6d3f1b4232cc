"""The routes of the synthetic hospital's FHIR server, and where its bad days strike."""

import io
import re
import socket
from datetime import datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar
from urllib.parse import parse_qs, urlsplit

import orjson

from integrations.synthetic_hospital.ehr_faults import Fault, Kind
from integrations.synthetic_hospital.ehr_shelf import LONG_AGO

if TYPE_CHECKING:
    from integrations.synthetic_hospital.ehr_server import EhrServer

FHIR_JSON = "application/fhir+json"
PIECE = 1 << 20
LOGIN = b"<html><body>Please sign in</body></html>"
EXPORT = re.compile(r"/fhir/(Patient/|Group/[\w-]+/)?\$export")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    ehr: ClassVar["EhrServer"]
    protocol_version = "HTTP/1.1"
    fault: Fault | None = None
    disable_nagle_algorithm = True

    def log_message(self, *_args: object) -> None:
        """Say nothing: an address may hold an id of a patient."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The hospital's time, in every answer."""
        return format_datetime(self.ehr.now, usegmt=True) if timestamp is None else super().date_time_string(timestamp)

    def do_GET(self) -> None:
        """Answer a GET."""
        self.ehr.headers.append((self.path, str(self.headers)))
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = url.path
        if path == "/fhir/metadata":
            self._unless_faulty("metadata", self._metadata)
        elif path == "/fhir/.well-known/smart-configuration":
            self._unless_faulty("discovery", self._discovery)
        elif not self._may_ask(path):
            self._say(401, _outcome("login"))
        elif self.ehr.has_bulk and EXPORT.fullmatch(path):
            self._unless_faulty("kick_off", self._kick_off)
        elif found := re.fullmatch(r"/fhir/jobs/(\w+)", path):
            self._unless_faulty("status", lambda: self._status(found[1]))
        elif found := re.fullmatch(r"/fhir/files/(\w+)/(\d+)", path):
            self._unless_faulty("file", lambda: self._file(found[1], int(found[2])))
        elif found := re.fullmatch(r"/fhir/([A-Z]\w+)/_history", path):
            self._unless_faulty("history", lambda: self._history(found[1]))
        elif found := re.fullmatch(r"/fhir/([A-Z]\w+)", path):
            self._unless_faulty("page", lambda: self._page(found[1]))
        else:
            self._say(404, _outcome("not-found"))

    def do_POST(self) -> None:
        """Answer a POST: only tokens are asked for so."""
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        given = {name: values[0] for name, values in form.items()}
        self._unless_faulty("token", lambda: self._say(*self.ehr.tokens.give(given, f"{self.ehr.origin}/token")))

    def do_DELETE(self) -> None:
        """Forget a job that has been fetched."""
        job_id = self.path.rsplit("/", 1)[-1]
        if not self._may_ask(self.path):
            self._say(401, _outcome("login"))
            return
        self._unless_faulty("delete", lambda: self._forget(job_id))

    def _forget(self, job_id: str) -> None:
        is_known = self.ehr.jobs.pop(job_id, None) is not None
        self.ehr.deleted_jobs.append(job_id)
        self._say(202 if is_known else 404, _outcome("informational"))

    def _may_ask(self, path: str) -> bool:
        is_open_file = path.startswith("/fhir/files/") and not self.ehr.files_need_token
        return is_open_file or self.ehr.tokens.is_good(self.headers.get("Authorization"))

    def _unless_faulty(self, kind: Kind, answer: Any) -> None:
        """Answer, unless today is a bad day for this request."""
        self.fault = self.ehr.faults(kind, self.ehr.number_of(kind))
        what = self.fault.what if self.fault else ""
        if what == "restart":
            self.ehr.restart()
        elif what == "expire_links":
            self.ehr.expire_links()
        elif what == "expire_tokens":
            self.ehr.tokens.forget()
        if what in ("refuse", "restart", "redirect"):
            self._refuse(self.fault or Fault(what="refuse"))
        elif what == "garbage":
            self._send(200, LOGIN, "text/html")
        elif what == "expire_tokens":
            self._say(401, _outcome("login"))
        else:
            answer()

    def _refuse(self, fault: Fault) -> None:
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        headers |= {"Location": fault.to} if fault.to else {}
        self._say(fault.status, _outcome("transient"), headers)

    def _metadata(self) -> None:
        kinds = self.ehr.shelf.kinds()
        ways = [{"code": code} for code in ("read", "search-type", "history-type")]
        search = [{"name": "_lastUpdated", "type": "date"}]
        resources = [{"type": kind, "interaction": ways, "searchParam": search} for kind in kinds]
        export = [{"name": "export", "definition": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export"}]
        rest = {"mode": "server", "resource": resources, "operation": export if self.ehr.has_bulk else []}
        statement = {
            "resourceType": "CapabilityStatement",
            "fhirVersion": "4.0.1",
            "status": "active",
            "kind": "instance",
        }
        self._say(200, statement | {"rest": [rest]})

    def _discovery(self) -> None:
        self._say(
            200,
            {
                "token_endpoint": self.ehr.token_url,
                "token_endpoint_auth_methods_supported": ["private_key_jwt"],
                "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
                "scopes_supported": ["system/*.read"],
                "grant_types_supported": ["client_credentials"],
            },
        )

    def _kick_off(self) -> None:
        since, kinds = self.query.get("_since"), self.query.get("_type", "")
        job_id = self.ehr.kick_off(
            f"{self.ehr.origin}{self.path}",
            datetime.fromisoformat(since) if since else None,
            kinds.split(",") if kinds else [],
        )
        self._say(202, _outcome("informational"), {"Content-Location": self.ehr.job_url(job_id)})

    def _status(self, job_id: str) -> None:
        job = self.ehr.jobs.get(job_id)
        if job is None:
            self._say(404, _outcome("not-found"))
        elif job.polls < self.ehr.polls:
            job.polls += 1
            self._send(202, b"", FHIR_JSON, {"X-Progress": "in progress"})
        else:
            self._send(200, orjson.dumps(self.ehr.manifest(job_id)), "application/json")

    def _file(self, job_id: str, number: int) -> None:
        job = self.ehr.jobs.get(job_id)
        if job is None or self.query.get("word") != job.link_word:
            self._say(403, _outcome("forbidden"))
            return
        file = self.ehr.opened(job_id, number)
        size = file.seek(0, 2)
        etag = f'"{job_id}-{number}"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes"} if self.ehr.has_validators else {}
        if self.ehr.is_packed:
            headers["Content-Encoding"] = "gzip"
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.ehr.has_validators and self.headers.get("If-Range") == etag:
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
            self._send(206, file, "application/fhir+ndjson", headers, start=start)
            return
        self._send(200, file, "application/fhir+ndjson", headers)

    def _page(self, kind: str) -> None:
        since = self.query.get("_lastUpdated", "").removeprefix("ge")
        begin = datetime.fromisoformat(since) if since else LONG_AGO
        found = self.ehr.shelf.resources(kind, begin, self.ehr.now)
        start, count = int(self.query.get("_offset", 0)), int(self.query.get("_count", self.ehr.page_size))
        count = min(count, self.ehr.page_size)
        shown = max(start - count, 0) if self.fault and self.fault.what == "repeat" else start
        entries = b",".join(
            b'{"resource":' + line + b',"search":{"mode":"match"}}' for line in found[shown : shown + count]
        )
        links = []
        if start + count < len(found):
            kept = {"_lastUpdated": f"ge{since}"} if since else {}
            following = {**kept, "_count": count, "_offset": start + count}
            links.append({"relation": "next", "url": self.ehr.page_url(kind, following)})
        head: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "link": links}
        head |= {"total": len(found)} if self.ehr.says_total else {}
        self._send(200, orjson.dumps(head)[:-1] + b',"entry":[' + entries + b"]}", FHIR_JSON)

    def _history(self, kind: str) -> None:
        since = self.query.get("_since")
        begin = datetime.fromisoformat(since) if since else LONG_AGO
        entries = [
            {"request": {"method": "DELETE", "url": url}, "response": {"status": "204"}}
            for url in self.ehr.shelf.deleted(begin, self.ehr.now, [kind])
        ]
        self._say(200, {"resourceType": "Bundle", "type": "history", "entry": entries})

    def _say(self, status: int, resource: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send(status, orjson.dumps(resource), FHIR_JSON, headers)

    def _send(
        self,
        status: int,
        body: bytes | BinaryIO,
        content_type: str,
        headers: dict[str, str] | None = None,
        start: int = 0,
    ) -> None:
        """Send the answer; on a bad day only its beginning, said to be all of it (short) or not (cut)."""
        with io.BytesIO(body) if isinstance(body, bytes) else body as file:
            size = file.seek(0, 2) - start
            file.seek(start)
            what = self.fault.what if self.fault else ""
            sent = min(self.fault.at, size) if self.fault and what in ("cut", "short") else size
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(sent if what == "short" else size))
            for name, value in (headers or {}).items():
                self.send_header(name, value.encode().decode("latin-1"))
            self.end_headers()
            while sent and (piece := file.read(min(PIECE, sent))):
                self.wfile.write(piece)
                sent -= len(piece)
        if what == "cut":
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


def _outcome(code: str) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code}]}
