"""A stock gRPC client and server (python3-grpcio) for test_grpc_interop.c. Messages are raw bytes, so that no generated code
is needed: the test's message has one string member, number 1."""
import sys
import threading

import grpc
from google.protobuf import descriptor_pb2

WAIT_S = 60


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def member(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def text(s):
    return member(1, s.encode()) if s else b""


def members(data):
    """Length-delimited members and varints of a message, as (number, value)."""
    at = 0
    while at < len(data):
        def number():
            nonlocal at
            v = shift = 0
            while True:
                b = data[at]
                at += 1
                v |= (b & 127) << shift
                shift += 7
                if b < 128:
                    return v
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        else:
            n = number()
            yield key >> 3, data[at:at + n]
            at += n


def value(data):
    for number, v in members(data):
        if number == 1:
            return v.decode()
    return ""


def check(what, ok, detail=""):
    if not ok:
        sys.exit(f"{what}: {detail}")


def expect(what, status, message, fn):
    try:
        fn()
    except grpc.RpcError as e:
        check(what, e.code() == status, f"{e.code()} {e.details()}")
        check(what, message is None or e.details() == message, e.details())
        return
    sys.exit(f"{what}: no error")


def reflection(channel, package):
    call = channel.stream_stream(f"/grpc.reflection.{package}.ServerReflection/ServerReflectionInfo")
    ask = iter([member(7, b"*"), member(4, b"grpc.health.v1.Health"), member(3, b"grpc/health/v1/health.proto"),
                member(4, b"no.such.Thing"), member(6, b"grpc.health.v1.HealthCheckRequest")])
    answers = [dict(members(a)) for a in call(ask, timeout=WAIT_S)]
    check("reflection", len(answers) == 5, answers)
    services = [value(s) for _, s in members(answers[0][6])]
    check("services", sorted(services) == sorted(
        ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]), services)
    for a in answers[1:3]:
        f = descriptor_pb2.FileDescriptorProto.FromString(dict(members(a[4]))[1])
        check("file", f.name == "grpc/health/v1/health.proto" and f.service[0].method[1].server_streaming, f)
    check("unknown symbol", dict(members(answers[3][7]))[1] == 5, answers[3])
    check("extensions", dict(members(answers[4][5]))[1] == b"grpc.health.v1.HealthCheckRequest", answers[4])


def client(address, secure):
    options = [("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", 16 << 20)]
    if secure:
        with open(secure, "rb") as f:
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(f.read()),
                                          options + [("grpc.ssl_target_name_override", "localhost")])
    else:
        channel = grpc.insecure_channel(address, options)
    echo = channel.unary_unary("/t.T/Echo")
    check("echo", value(echo(text("hällo"), timeout=WAIT_S, metadata=[("authorization", "Bearer x")])) == "hällo")
    check("empty", echo(b"", timeout=WAIT_S) == b"")
    big = "x" * (5 << 20)
    check("big", value(echo(text(big), timeout=WAIT_S)) == big)
    expect("too big", grpc.StatusCode.RESOURCE_EXHAUSTED, None, lambda: echo(text("x" * (9 << 20)), timeout=WAIT_S))
    expect("garbage", grpc.StatusCode.INTERNAL, None, lambda: echo(b"\x0a\xff", timeout=WAIT_S))
    expect("fail", grpc.StatusCode.NOT_FOUND, "no such thing: 100% ü\n",
           lambda: channel.unary_unary("/t.T/Fail")(b"", timeout=WAIT_S))
    expect("unknown", grpc.StatusCode.UNIMPLEMENTED, None, lambda: channel.unary_unary("/t.T/Nope")(b"", timeout=WAIT_S))
    # Until the server has heard of one: on a busy machine the deadline may pass before.
    after = 0.2
    while value(channel.unary_unary("/t.T/Held")(b"", timeout=WAIT_S)) == "0":
        expect("deadline", grpc.StatusCode.DEADLINE_EXCEEDED, None,
               lambda: channel.unary_unary("/t.T/Hold")(b"", timeout=after))
        after *= 2
    expect("gzip", grpc.StatusCode.UNIMPLEMENTED, None,
           lambda: echo(text("y" * 5000), timeout=WAIT_S, compression=grpc.Compression.Gzip))
    numbers = [value(m) for m in channel.unary_stream("/t.T/Count")(text("500"), timeout=WAIT_S)]
    check("count", len(numbers) == 500 and numbers[499].startswith("00000499"), len(numbers))
    # Bidi: one question, one answer, in step.
    turn = threading.Semaphore(1)

    def questions():
        for i in range(50):
            turn.acquire()
            yield text(f"q{i}")

    got = []
    for m in channel.stream_stream("/t.T/Bidi")(questions(), timeout=WAIT_S):
        got.append(value(m))
        turn.release()
    check("bidi", got == [f"q{i}" for i in range(50)], got)
    # Cancelled by the client.
    endless = channel.unary_stream("/t.T/Count")(text("100000000"), timeout=WAIT_S)
    next(endless)
    endless.cancel()
    # Many at once.
    futures = [echo.future(text(str(i)), timeout=WAIT_S) for i in range(500)]
    check("many", [value(f.result()) for f in futures] == [str(i) for i in range(500)])
    health = channel.unary_unary("/grpc.health.v1.Health/Check")
    check("health", health(b"", timeout=WAIT_S) == b"\x08\x01")
    expect("health of nothing", grpc.StatusCode.NOT_FOUND, None, lambda: health(text("nothing"), timeout=WAIT_S))
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(text("nothing"), timeout=WAIT_S)
    check("watch", next(watch) == b"\x08\x03")
    watch.cancel()
    reflection(channel, "v1")
    reflection(channel, "v1alpha")
    channel.close()
    print("fine")


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        def echo(request, context):
            context.send_initial_metadata((("x-initial", "1"),))
            return request

        def fail(request, context):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nö: 50%")

        def slow(request, context):
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait(WAIT_S)
            return request

        def count(request, context):
            for i in range(int(value(request))):
                yield text(f"{i:08d}" + "." * 2000)

        def bidi(requests, context):
            for r in requests:
                yield r

        table = {
            "/t.T/Echo": lambda: grpc.unary_unary_rpc_method_handler(echo),
            "/t.T/Fail": lambda: grpc.unary_unary_rpc_method_handler(fail),
            "/t.T/Slow": lambda: grpc.unary_unary_rpc_method_handler(slow),
            "/t.T/Count": lambda: grpc.unary_stream_rpc_method_handler(count),
            "/t.T/Bidi": lambda: grpc.stream_stream_rpc_method_handler(bidi),
        }
        make = table.get(details.method)
        return make() if make else None


def server():
    from concurrent.futures import ThreadPoolExecutor
    s = grpc.server(ThreadPoolExecutor(8), handlers=[Handler()], options=[("grpc.max_receive_message_length", 16 << 20)])
    print(s.add_insecure_port("127.0.0.1:0"), flush=True)
    s.start()
    sys.stdin.read()
    s.stop(0).wait()


if sys.argv[1] == "client":
    client(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
else:
    server()
