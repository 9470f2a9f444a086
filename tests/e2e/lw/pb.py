"""Python's own protobuf on the schema that the build has written down: an implementation that is not ours."""

import functools

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from lw.procs import build_dir


@functools.lru_cache(None)
def pool():
    files = descriptor_pb2.FileDescriptorSet.FromString((build_dir() / "gen" / "descriptor_set.bin").read_bytes())
    out = descriptor_pool.DescriptorPool()
    for f in files.file:
        out.Add(f)
    return out


@functools.lru_cache(None)
def message(full_name):
    """The class of a message: message("gw.UplinkFrame")."""
    return message_factory.MessageFactory(pool()).GetPrototype(pool().FindMessageTypeByName(full_name))
