# Serves POST /event-invoke on the instance's socket with a handler in Python 3.
# Started as: python3 runner.py SOCKETS MODULE FUNCTION
import importlib.util
import json
import os
import socket
import sys
import traceback
from http.server import BaseHTTPRequestHandler
from socketserver import UnixStreamServer

SOCKETS, MODULE, FUNCTION = sys.argv[1:4]
ROOT = os.getcwd()
NO_HANDLER, FAILED_AT_START = 90, 91
MAX_RESULT = 6 << 20


class Context(dict):
    """What a handler is told beside its event: `context["request_id"]` or `context.request_id`."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def load():
    path = os.path.join(ROOT, MODULE + ".py")
    for folder in (ROOT, os.path.dirname(path)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    name = MODULE.replace("/", ".")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except FileNotFoundError:
        sys.stderr.write("there is no file %s.py\n" % MODULE)
        stop(NO_HANDLER)
    except BaseException:
        traceback.print_exc()
        stop(FAILED_AT_START)
    handler = getattr(module, FUNCTION, None)
    if not callable(handler):
        sys.stderr.write("%s.py has no function %s\n" % (MODULE, FUNCTION))
        stop(NO_HANDLER)
    return handler


def stop(code):
    flush()
    os._exit(code)


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass


class Runner(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        status, verdict, text = run(body, self.context())
        flush()
        self.send_response(status)
        if verdict:
            self.send_header("x-tidings-status", verdict)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def context(self):
        def told(name):
            return self.headers.get("x-scf-" + name) or ""

        return Context(
            request_id=told("request-id"),
            function_name=told("name"),
            function_version=told("version"),
            memory_limit_in_mb=int(told("memory") or 0),
            time_limit_in_ms=1000 * int(told("timeout") or 0),
            namespace=told("namespace"),
            tencentcloud_region=told("region"),
            tencentcloud_appid=told("appid"),
            tencentcloud_uin=told("uin"),
            environment=json.dumps(dict(os.environ)),
        )

    def log_message(self, *_):
        pass

    def address_string(self):
        return "server"


def run(body, context):
    try:
        event = json.loads(body)
    except ValueError:
        return 500, "400", failure("the event is no JSON", "")
    try:
        text = json.dumps(HANDLER(event, context)).encode()
    except MemoryError:
        return 500, "434", failure("out of memory", "")
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit):
            flush()
            stop(error.code if isinstance(error.code, int) else 1)
        traceback.print_exc()
        return 500, "430", failure("%s: %s" % (type(error).__name__, error), traceback.format_exc())
    if len(text) > MAX_RESULT:
        return 500, "407", failure("the result has %d bytes" % len(text), "")
    return 200, None, text


def failure(message, trace):
    told = {"errorCode": -1, "errorMessage": message[:1000], "stackTrace": trace[-4000:]}
    return json.dumps(told).encode()


HANDLER = load()
SERVER = UnixStreamServer(os.path.join(SOCKETS, "s"), Runner)
with socket.socket(socket.AF_UNIX) as ready:
    ready.connect(os.path.join(SOCKETS, "ready"))
SERVER.serve_forever(poll_interval=3600)
