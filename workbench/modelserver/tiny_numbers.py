"""Numbers so small that many processors take a hundred times as long for them, read as 0."""

_IDENTITY = (  # the smallest model that ONNX Runtime loads: y = x
    b'\x08\x03:9\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x10\n\x01x\x12\x0b\n\t\x08\x01\x12'
    b"\x05\n\x03\x12\x01nb\x10\n\x01y\x12\x0b\n\t\x08\x01\x12\x05\n\x03\x12\x01nB\x04\n\x00\x10\x07"
)


def flush_tiny_numbers() -> None:
    """Have this process read numbers below 1.2e-38 (float32) or 2.2e-308 (float64) as 0.

    To be called from the main thread of a process that does nothing but answer, before it opens a
    model or starts a thread: Python's own arithmetic changes with it.

    ONNX Runtime has it as an option of a session, and applies it when a process opens its first
    one, to the thread that does; later sessions cannot change it, and only threads started after
    that share it (seen with ONNX Runtime 1.32). So the first session is opened here.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    onnxruntime.InferenceSession(_IDENTITY, options, providers=["CPUExecutionProvider"])
