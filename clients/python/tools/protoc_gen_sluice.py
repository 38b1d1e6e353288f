"""A plugin of protoc: writes what its Python generator leaves out.

`sluice/v1/__init__.py` names every message and enum of the API, `sluice/v1/stubs.py` has a typed asyncio method for
every call, and `sluice/v1/reasons.py` has the stable names of errors, all with the comments of the proto files.
"""

import re
import sys
import textwrap
from collections.abc import Iterator

from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import (
    EnumDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

# Numbers of fields: where in a file a comment stands.
ENUM_PATH, SERVICE_PATH, METHOD_PATH, VALUE_PATH = 5, 6, 2, 2
REASON_PREFIX = "ERROR_REASON_"
GENERATED = "# Generated from proto/ by tools/protoc_gen_sluice.py.\n"


def main() -> None:
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    wanted = set(request.file_to_generate)
    files = [file for file in request.proto_file if file.name in wanted]
    response = plugin_pb2.CodeGeneratorResponse(
        supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    )
    response.file.add(name="sluice/v1/__init__.py", content=package_of(files))
    response.file.add(name="sluice/v1/stubs.py", content=stubs_of(files))
    response.file.add(name="sluice/v1/reasons.py", content=reasons_of(files))
    sys.stdout.buffer.write(response.SerializeToString())


def comment_at(file: FileDescriptorProto, *path: int) -> str:
    """The comment that leads something, or an empty text."""
    for location in file.source_code_info.location:
        if tuple(location.path) == path:
            lines = (line.removeprefix(" ") for line in location.leading_comments.splitlines())
            return "\n".join(lines).strip()
    return ""


def docstring(text: str, indent: str) -> str:
    if text == "":
        return ""
    body = textwrap.indent(text, indent).strip()
    end = f"\n{indent}" if "\n" in body else ""
    return f'{indent}"""{body}{end}"""\n'


def module_of(file: FileDescriptorProto) -> str:
    return file.name.removesuffix(".proto").split("/")[-1] + "_pb2"


def names_of(file: FileDescriptorProto) -> list[str]:
    names = [message.name for message in file.message_type]
    for enum in file.enum_type:
        names += [enum.name, *(value.name for value in enum.value)]
    return sorted(names)


def package_of(files: list[FileDescriptorProto]) -> str:
    lines = ['"""The API as it is generated from proto/sluice/v1: messages and enums."""\n']
    everything: list[str] = []
    for file in sorted(files, key=module_of):
        names = [name for name in names_of(file) if "ErrorReason" not in name and REASON_PREFIX not in name]
        if not names:
            continue
        everything += names
        lines.append(f"from .{module_of(file)} import (")
        lines += [f"    {name}," for name in names]
        lines.append(")")
    lines.append("\n__all__ = [")
    lines += [f'    "{name}",' for name in sorted(everything)]
    lines.append("]\n")
    return GENERATED + "\n".join(lines)


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def type_name(full_name: str) -> str:
    return full_name.rsplit(".", 1)[-1]


def stubs_of(files: list[FileDescriptorProto]) -> str:
    services = [(file, i, service) for file in files for i, service in enumerate(file.service)]
    types = sorted(
        {type_name(name) for _, _, s in services for m in s.method for name in (m.input_type, m.output_type)}
    )
    imports = "".join(f"    {name},\n" for name in types)
    head = (
        f'{GENERATED}"""The calls of the API, one method each."""\n\n'
        "from collections.abc import AsyncIterable, AsyncIterator, Mapping\n\n"
        "from ..calls import Calls\n"
        "from ..seconds import seconds_of\n"
        f"from . import (\n{imports})\n"
    )
    return head + "".join(stub_of(*service) for service in services)


def stub_of(file: FileDescriptorProto, index: int, service: ServiceDescriptorProto) -> str:
    doc = docstring(comment_at(file, SERVICE_PATH, index), "    ")
    methods = "".join(methods_of(file, index, service))
    init = "    def __init__(self, calls: Calls) -> None:\n        self._calls = calls\n"
    separator = "\n" if doc else ""
    return f"\n\nclass {service.name}Stub:\n{doc}{separator}{init}{methods}"


def methods_of(file: FileDescriptorProto, index: int, service: ServiceDescriptorProto) -> Iterator[str]:
    for i, method in enumerate(service.method):
        path = f"/{file.package}.{service.name}/{method.name}"
        doc = docstring(comment_at(file, SERVICE_PATH, index, METHOD_PATH, i), "        ")
        yield "\n" + method_of(method, path, doc)


def method_of(method: MethodDescriptorProto, path: str, doc: str) -> str:
    request, response = type_name(method.input_type), type_name(method.output_type)
    parameter = f"requests: AsyncIterable[{request}]" if method.client_streaming else f"request: {request}"
    returns = f"AsyncIterator[{response}]" if method.server_streaming else response
    sent = "stream" if method.client_streaming else "unary"
    received = "stream" if method.server_streaming else "unary"
    define, answer = ("def", "return ") if method.server_streaming else ("async def", "return await ")
    argument = parameter.split(":")[0]
    return (
        f"    {define} {snake_case(method.name)}(\n"
        f"        self,\n"
        f"        {parameter},\n"
        f"        *,\n"
        f"        timeout: float | None = None,\n"
        f"        metadata: Mapping[str, str] | None = None,\n"
        f"        timeout_ms: float | None = None,\n"
        f"    ) -> {returns}:\n"
        f"{doc}"
        f'        timeout = seconds_of("timeout", timeout, timeout_ms)\n'
        f"        {answer}self._calls.{sent}_{received}(\n"
        f'            "{path}", {argument}, {response}, timeout, metadata\n'
        f"        )\n"
    )


def reasons_of(files: list[FileDescriptorProto]) -> str:
    for file in files:
        for index, enum in enumerate(file.enum_type):
            if enum.name == "ErrorReason":
                return reason_enum(file, index, enum)
    raise LookupError("no enum ErrorReason in the proto files")


def reason_enum(file: FileDescriptorProto, index: int, enum: EnumDescriptorProto) -> str:
    lines = [f'{GENERATED}"""The stable names of errors."""\n', "from enum import Enum\n\n"]
    lines.append("class ErrorReason(str, Enum):")
    doc = "Equal to the text that `SluiceError.reason` has: a broker may know reasons that this version does not."
    lines.append(f'    """{doc}"""\n')
    for i, value in enumerate(enum.value):
        if value.number == 0:
            continue
        name = value.name.removeprefix(REASON_PREFIX)
        comment = comment_at(file, ENUM_PATH, index, VALUE_PATH, i)
        lines.append(f'    {name} = "{name}"')
        lines.append(docstring(comment, "    ").rstrip("\n"))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
