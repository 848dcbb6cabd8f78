"""The public traces that are known by name: origin, hash and terms of each."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from workbench.files import find_data
from workbench.traffic.instants import Unit


def cache_directory() -> Path:
    """Return the folder of downloads: $WORKBENCH_HOME/cache when set, else the user's cache."""
    from platformdirs import user_cache_path

    home = os.environ.get("WORKBENCH_HOME")
    return Path(home) / "cache" if home else user_cache_path("inference-workbench", appauthor=False)


@dataclass(frozen=True, kw_only=True)
class PublicTrace:
    """Where a public trace comes from, what it holds, and on what terms it may be used.

    Attributes:
        name: for `open_trace`.
        about: what it holds.
        licence: in a few words; the notice has the terms.
        source: page that describes it.
        url: of the file, at a pinned version.
        sha256: of the file, in hexadecimal.
        begins: the instant that is 0 in the trace, in UTC; "" where nobody said.
        notice: what has to travel with the data.
        per_minute: whether a row is a minute with a count, or a request.
        ending: of the file's name, which tells how it is written.
        column: the times of requests.
        unit: of times that are numbers.
        lasting: a column of seconds that requests took, where the times are those of their ends.
        duration: seconds, where the trace does not end with its last request.
        unpacked: SHA-256 of the one file in an archive.
    """

    name: str
    about: str
    licence: str
    source: str
    url: str
    sha256: str
    begins: str
    notice: str
    per_minute: bool = False
    ending: str = ".csv"
    column: str = "TIMESTAMP"
    unit: Unit | None = None
    lasting: str = ""
    duration: float | None = None
    unpacked: str = ""

    @property
    def path(self) -> Path:
        """Where the file is kept: below $WORKBENCH_HOME/cache or the user's cache directory."""
        return cache_directory() / "traces" / f"{self.name}{self.ending}"


_AZURE = "https://github.com/Azure/AzurePublicDataset"
_AZURE_FILES = (
    "https://raw.githubusercontent.com/Azure/AzurePublicDataset/"
    "b469a113cedca53ddc3bdea71a143dc4b7d8700c/data"
)
_BURST_GPT = "https://github.com/HPMLL/BurstGPT"
_MOONCAKE = "https://github.com/kvcache-ai/Mooncake"


def _azure_llm(kind: str, about: str, *, sha256: str, begins: str) -> PublicTrace:
    return PublicTrace(
        name=f"azure-llm-2023-{kind}",
        about=about,
        licence="CC BY 4.0",
        source=_AZURE,
        url=f"{_AZURE_FILES}/AzureLLMInferenceTrace_{kind}.csv",
        sha256=sha256,
        begins=begins,
        notice=f"Azure LLM inference trace 2023 ({kind}), Microsoft, {_AZURE}, CC BY 4.0. "
        "P. Patel et al., Splitwise: Efficient generative LLM inference using phase splitting, "
        "ISCA 2024.",
    )


def _mooncake(name: str, file: str, about: str, *, sha256: str) -> PublicTrace:
    return PublicTrace(
        name=f"mooncake-{name}",
        about=f"{about} in 59 minutes, their times rounded to ticks of 3 s",
        licence="Apache-2.0",
        source=_MOONCAKE,
        url="https://raw.githubusercontent.com/kvcache-ai/Mooncake/"
        f"3cca71daccf2a7afb8fe3f0295358f70e3a69fdb/FAST25-release/traces/{file}_trace.jsonl",
        sha256=sha256,
        begins="",
        notice=f"Mooncake trace of FAST '25 ({name}), Moonshot AI and others, {_MOONCAKE}, "
        "Apache License 2.0. R. Qin et al., Mooncake: Trading more storage for less computation, "
        "FAST 2025.",
        ending=".jsonl",
        column="timestamp",
        unit="ms",
    )


# counts and times are those of the very files whose checksums these are
_TRACES = (
    _azure_llm(
        "code",
        "8,819 requests to a code model in 57 minutes, very bursty",
        sha256="54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6",
        begins="2023-11-16 18:17:03.9799600",
    ),
    _azure_llm(
        "conv",
        "19,366 requests to a conversation model in 58 minutes",
        sha256="2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8",
        begins="2023-11-16 18:15:46.6805900",
    ),
    PublicTrace(
        name="azure-functions-2021",
        about="1,980,951 calls of 424 functions in two weeks; a .rar, which a program must read",
        licence="CC BY 4.0",
        source=f"{_AZURE}/blob/master/AzureFunctionsInvocationTrace2021.md",
        url=f"{_AZURE_FILES}/AzureFunctionsInvocationTraceForTwoWeeksJan2021.rar",
        sha256="8bb5d1c82e89e467062b6582996232df24edfebadbaf3287a8c985ca178ba92d",
        begins="2021-01-31",
        notice=f"Azure Functions invocation trace 2021, Microsoft, {_AZURE}, CC BY 4.0. Y. Zhang "
        "et al., Faster and cheaper serverless computing on harvested resources, SOSP 2021.",
        ending=".rar",
        column="end_timestamp",
        lasting="duration",
        duration=14 * 86_400.0,
        unpacked="d56368ef194baa8d418304bd2f87cca67668ced0d117bd89ad4ef3cf836457d2",
    ),
    PublicTrace(
        name="burstgpt",
        about="1,429,737 requests to ChatGPT and GPT-4 in 61 days, in whole seconds",
        licence="CC BY 4.0",
        source=_BURST_GPT,
        url="https://raw.githubusercontent.com/HPMLL/BurstGPT/"
        "8345c824bf744e21692186af2835521ba75e5f6d/data/BurstGPT_1.csv",
        sha256="46fc9480ef0b748ecb2b51d512ff08c196b031782cbe6f78e28044d768e86d5a",
        begins="",
        notice=f"BurstGPT, first two months, {_BURST_GPT}, CC BY 4.0. Y. Wang et al., BurstGPT: A "
        "real-world workload dataset to optimize LLM serving systems, KDD 2025.",
        column="Timestamp",
        unit="s",
    ),
    _mooncake(
        "conversation",
        "conversation",
        "12,031 requests of chats",
        sha256="b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df",
    ),
    _mooncake(
        "tools",
        "toolagent",
        "23,608 requests of tools and agents",
        sha256="48a2db1a13d3bc05e6330140c64f604ba366df20d3c9e128b5c35a01c1fa5f71",
    ),
    PublicTrace(
        name="worldcup98",
        about="requests per minute to a web site, 87 days of 1998, 1.35e9 in all, flash crowds",
        licence="free with the notice; modified copies non-commercially; table under MIT",
        source="https://github.com/nimamahmoudi/worldcup98-dataset",
        url="https://raw.githubusercontent.com/nimamahmoudi/worldcup98-dataset/"
        "82460213f0d5a86fa57b6d4b0b5f260e606e713b/invocation_count.csv",
        sha256="d05038f98af96f6fab054f90445e02a68f37fd00a79c23f45b9b48e5ec91fb8e",
        begins="1998-04-30 21:30:00",
        notice=(find_data() / "notices" / "worldcup98.txt").read_text("utf-8"),
        per_minute=True,
    ),
)

CATALOGUE: Mapping[str, PublicTrace] = MappingProxyType({entry.name: entry for entry in _TRACES})
