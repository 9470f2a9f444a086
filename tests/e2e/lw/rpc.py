"""A stock gRPC client (grpcio) whose messages come from protoc's descriptor set."""

import grpc

from lw.pb import message, pool
from lw.procs import PATIENCE_S


class Rpc:
    def __init__(self, port, token=None):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", 64 << 20)])
        self.token = token

    def metadata(self):
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def _method(self, name):
        service, method = name.rsplit("/", 1)
        d = pool().FindServiceByName(service).FindMethodByName(method)
        return message(d.input_type.full_name), message(d.output_type.full_name)

    def call(self, name, timeout=PATIENCE_S, **fields):
        """rpc.call("api.TenantService/Create", tenant={"name": "x"}): the answer, or grpc.RpcError."""
        request, answer = self._method(name)
        fn = self.channel.unary_unary(f"/{name}", request_serializer=lambda m: m.SerializeToString(),
                                      response_deserializer=answer.FromString)
        return fn(fields.pop("message", None) or request(**fields), timeout=timeout, metadata=self.metadata())

    def stream(self, name, requests, timeout=PATIENCE_S):
        """A call with a stream in both directions: an iterator of answers."""
        _, answer = self._method(name)
        fn = self.channel.stream_stream(f"/{name}", request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=answer.FromString)
        return fn(iter(requests), timeout=timeout, metadata=self.metadata())

    def request_class(self, name):
        return self._method(name)[0]

    def close(self):
        self.channel.close()
