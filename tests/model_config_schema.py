"""Triton's model configuration, as far as we write it: a schema for protobuf's own text parser, without a network.

The table holds fields of protobuf/model_config.proto in triton-inference-server/common at commit 08365eae35e2305723a46383a02083a7d73f9abd:
name, number and type. `test_triton_client.py` holds it against the whole schema, as NVIDIA compiled it into the package tritonclient.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

PACKAGE = "inference"
ENUMS = {
    "DataType": ("INVALID BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 STRING BF16", "TYPE_"),
    "ModelInstanceGroup.Kind": ("AUTO GPU CPU MODEL", "KIND_"),
}
MESSAGES = {
    "ModelConfig": "name=1:string platform=2:string backend=17:string version_policy=3:ModelVersionPolicy max_batch_size=4:int32"
    " input=5:*ModelInput output=6:*ModelOutput instance_group=7:*ModelInstanceGroup dynamic_batching=11:ModelDynamicBatching"
    " default_model_filename=8:string parameters=14:*ModelConfig.ParametersEntry",
    "ModelConfig.ParametersEntry": "key=1:string value=2:ModelParameter",
    "ModelParameter": "string_value=1:string",
    "ModelInput": "name=1:string data_type=2:DataType dims=4:*int64",
    "ModelOutput": "name=1:string data_type=2:DataType dims=3:*int64 label_filename=4:string",
    "ModelInstanceGroup": "name=1:string kind=4:ModelInstanceGroup.Kind count=2:int32 gpus=3:*int32",
    "ModelVersionPolicy": "specific=3:ModelVersionPolicy.Specific",
    "ModelVersionPolicy.Specific": "versions=1:*int64",
    "ModelDynamicBatching": "preferred_batch_size=1:*int32 max_queue_delay_microseconds=2:uint64",
}
SCALARS = {
    name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}") for name in ("string", "int32", "int64", "uint32", "uint64")
}


def parsed(text: str, message=None):
    """The ModelConfig that the text is; ParseError where it is none."""
    return text_format.Parse(text, (message or model_config())())


def model_config():
    """The message's class, of a pool of its own."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.ModelConfig"))


def _file():
    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", package=PACKAGE, syntax="proto3")
    made = {}
    for name, fields in MESSAGES.items():
        outer, _, inner = name.rpartition(".")
        message = made[outer].nested_type.add(name=inner) if outer else file.message_type.add(name=name)
        made[name] = message
        message.options.map_entry = name.endswith("Entry")
        for field in fields.split():
            _field(message, *field.replace(":", "=").split("="))
    for name, (values, prefix) in ENUMS.items():
        outer, _, inner = name.rpartition(".")
        enum = (made[outer] if outer else file).enum_type.add(name=inner)
        for number, value in enumerate(values.split()):
            enum.value.add(name=f"{prefix}{value}", number=number)
    return file


def _field(message, name, number, kind):
    bare = kind.removeprefix("*")
    label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED if kind != bare else descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    field = message.field.add(name=name, number=int(number), label=label)
    if bare in SCALARS:
        field.type = SCALARS[bare]
    else:
        field.type_name = f".{PACKAGE}.{bare}"
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_ENUM if bare in ENUMS else descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
