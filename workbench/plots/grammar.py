"""A grammar that importing Altair or Voila would compile, put off until somebody needs it."""

import sys
from importlib.util import find_spec, module_from_spec

_GRAMMAR = "rfc3987_syntax"


def defer_grammar() -> None:
    """Have imports of Altair, nbformat or Voila take no grammar of IRIs along, if there is one.

    They import jsonschema, which imports rfc3987-syntax for the format "iri", and that compiles
    its grammar with lark as it is imported: 2.5 s and 20 MB (jsonschema 4.26, rfc3987-syntax 1.1).
    A module stands in for it that does so at the first question.
    """
    if _GRAMMAR in sys.modules or "jsonschema" in sys.modules:
        return
    spec = find_spec(_GRAMMAR)
    if spec is None or spec.loader is None:
        return
    loader, module = spec.loader, module_from_spec(spec)

    def is_valid_syntax(*arguments: str) -> bool:
        if module.is_valid_syntax is is_valid_syntax:
            loader.exec_module(module)
        return bool(module.is_valid_syntax(*arguments))

    def __getattr__(name: str) -> object:  # noqa: N807 - Python's, of modules
        if name.startswith("__") or module.is_valid_syntax is not is_valid_syntax:
            raise AttributeError(name)
        loader.exec_module(module)
        return getattr(module, name)

    vars(module).update(is_valid_syntax=is_valid_syntax, __getattr__=__getattr__)
    sys.modules[_GRAMMAR] = module
