"""vLLM's metrics, from what this process sees of the engine's events.

Names, labels and buckets are vLLM's, in the format of Prometheus' own client library, which it
uses: counters end in _total and have a _created beside them. Every series exists from the start.
Times that only an engine's scheduler knows (how long a request was queued) are not guessed.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from motorpool.modelserver.llm.contract import EngineState, FinishReason

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REASONS: tuple[FinishReason, ...] = ("stop", "length", "abort", "error")

TTFT_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
TOKEN_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
)  # fmt: skip
REQUEST_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
ANSWERS = (1.0, 2.0, 5.0, 10.0, 20.0)
HTTP_S = (0.1, 0.5, 1.0)

Labels = tuple[tuple[str, str], ...]


def token_buckets(max_model_len: int) -> tuple[float, ...]:
    """1, 2, 5, 10, 20, 50, ... up to the longest that there can be."""
    series = (float(step * 10**power) for power in range(12) for step in (1, 2, 5))
    return tuple(bound for bound in series if bound <= max_model_len)


class Counter:
    def __init__(self) -> None:
        self.value = 0.0


class Histogram:
    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times


class RequestTimes:
    """When what came of one answer. Times are seconds of a clock that only goes forward."""

    def __init__(self, arrived_s: float) -> None:
        self.arrived_s = arrived_s
        self.first_s: float | None = None
        self.last_s = arrived_s
        self.tokens = 0


class Metrics:
    def __init__(
        self, model: str, max_model_len: int, created_s: float, *, counts: bool = True
    ) -> None:
        """Not *counts*: every series stays at zero, as vLLM's with --disable-log-stats."""
        self._counts = counts
        self._labels: Labels = (("engine", "0"), ("model_name", model))
        self._created_s = created_s
        tokens = token_buckets(max_model_len)
        self.prompt_tokens = Counter()
        self.generation_tokens = Counter()
        self.finished = {reason: Counter() for reason in REASONS}
        self.ttft = Histogram(TTFT_S)
        self.token_time = Histogram(TOKEN_S)
        self.request_token_time = Histogram(TOKEN_S)
        self.e2e = Histogram(REQUEST_S)
        self.inference = Histogram(REQUEST_S)
        self.prefill = Histogram(REQUEST_S)
        self.decode = Histogram(REQUEST_S)
        self.request_prompt_tokens = Histogram(tokens)
        self.request_generation_tokens = Histogram(tokens)
        self.request_max_tokens = Histogram(tokens)
        self.params_max_tokens = Histogram(tokens)
        self.params_n = Histogram(ANSWERS)
        self._http: dict[Labels, Counter] = {}
        self._http_times: dict[Labels, Histogram] = {}

    def arrived(self, prompt_tokens: int, n: int, max_tokens: int) -> None:
        """A request."""
        if not self._counts:
            return
        self.prompt_tokens.value += prompt_tokens
        self.request_prompt_tokens.observe(prompt_tokens)
        self.params_n.observe(n)
        self.params_max_tokens.observe(max_tokens)

    def came(self, times: RequestTimes, tokens: int, now_s: float) -> None:
        """Tokens of an answer."""
        if not (tokens and self._counts):
            return
        if times.first_s is None:
            times.first_s = now_s
            self.ttft.observe(now_s - times.arrived_s)
            tokens_after_first = tokens - 1
        else:
            tokens_after_first = tokens
        if tokens_after_first:
            # Those of one event are as far apart as it is from the one before.
            each_s = (now_s - times.last_s) / tokens
            self.token_time.observe(each_s, tokens_after_first)
        times.last_s = now_s
        times.tokens += tokens
        self.generation_tokens.value += tokens

    def ended(self, times: RequestTimes, reason: FinishReason, now_s: float) -> None:
        """Of an answer."""
        if not self._counts:
            return
        self.finished[reason].value += 1
        self.e2e.observe(now_s - times.arrived_s)
        self.request_generation_tokens.observe(times.tokens)
        self.request_max_tokens.observe(times.tokens)
        if times.first_s is None:
            return
        self.inference.observe(now_s - times.arrived_s)
        self.prefill.observe(times.first_s - times.arrived_s)
        self.decode.observe(times.last_s - times.first_s)
        if times.tokens > 1:
            each_s = (times.last_s - times.first_s) / (times.tokens - 1)
            self.request_token_time.observe(each_s)

    def answered(self, path: str, method: str, status: int, took_s: float) -> None:
        """An HTTP request; *path* is one that this server has, so that there are few of them."""
        labels: Labels = (("handler", path), ("method", method))
        counted = (*labels, ("status", f"{status // 100}xx"))
        self._http.setdefault(counted, Counter()).value += 1
        self._http_times.setdefault(labels, Histogram(HTTP_S)).observe(took_s)

    def exposition(self, state: EngineState) -> bytes:
        return "".join(self._lines(state)).encode()

    def _lines(self, state: EngineState) -> Iterator[str]:
        for name, text, read in _GAUGES:
            yield from _head(name, "gauge", text)
            yield f"{name}{_braces(self._labels)} {read(state)!r}\n"
        for name, text, count in _ENGINE_COUNTERS:
            yield from self._counter(name, text, [(self._labels, float(count(state)))])
        totals = (
            ("vllm:prompt_tokens", "Number of prefill tokens processed.", self.prompt_tokens),
            (
                "vllm:generation_tokens",
                "Number of generation tokens processed.",
                self.generation_tokens,
            ),
        )
        for name, text, total in totals:
            yield from self._counter(name, text, [(self._labels, total.value)])
        finished = [
            ((self._labels[0], ("finished_reason", reason), self._labels[1]), counter.value)
            for reason, counter in self.finished.items()
        ]
        text = "Count of successfully processed requests."
        yield from self._counter("vllm:request_success", text, finished)
        for name, text, histogram in self._histograms():
            yield from _head(name, "histogram", text)
            yield from self._histogram(name, self._labels, histogram)
        yield from self._http_lines()

    def _histograms(self) -> Iterator[tuple[str, str, Histogram]]:
        yield (
            "vllm:time_to_first_token_seconds",
            "Histogram of time to first token in seconds.",
            self.ttft,
        )
        for name in ("time_per_output_token_seconds", "inter_token_latency_seconds"):
            yield f"vllm:{name}", "Histogram of time per output token in seconds.", self.token_time
        yield (
            "vllm:request_time_per_output_token_seconds",
            "Histogram of time per output token of a request in seconds.",
            self.request_token_time,
        )
        yield (
            "vllm:e2e_request_latency_seconds",
            "Histogram of e2e request latency in seconds.",
            self.e2e,
        )
        for name, histogram in (
            ("inference", self.inference),
            ("prefill", self.prefill),
            ("decode", self.decode),
        ):
            text = f"Histogram of time spent in {name.upper()} phase for request."
            yield f"vllm:request_{name}_time_seconds", text, histogram
        for name, text, histogram in (
            ("request_prompt_tokens", "prefill tokens processed", self.request_prompt_tokens),
            (
                "request_generation_tokens",
                "generation tokens processed",
                self.request_generation_tokens,
            ),
            (
                "request_max_num_generation_tokens",
                "maximum number of requested generation tokens",
                self.request_max_tokens,
            ),
            (
                "request_params_max_tokens",
                "the max_tokens request parameter",
                self.params_max_tokens,
            ),
            ("request_params_n", "the n request parameter", self.params_n),
        ):
            yield f"vllm:{name}", f"Histogram of {text}.", histogram

    def _http_lines(self) -> Iterator[str]:
        if not self._http:
            return
        text = "Total number of requests by method, status and handler."
        rows = [(labels, counter.value) for labels, counter in self._http.items()]
        yield from self._counter("http_requests", text, rows)
        name = "http_request_duration_seconds"
        yield from _head(name, "histogram", "Latency with only few buckets by handler.")
        for labels, histogram in self._http_times.items():
            yield from self._histogram(name, labels, histogram)

    def _counter(self, name: str, text: str, rows: Sequence[tuple[Labels, float]]) -> Iterator[str]:
        yield from _head(f"{name}_total", "counter", text)
        for labels, value in rows:
            yield f"{name}_total{_braces(labels)} {value!r}\n"
        yield from _head(f"{name}_created", "gauge", text)
        for labels, _ in rows:
            yield f"{name}_created{_braces(labels)} {self._created_s!r}\n"

    def _histogram(self, name: str, labels: Labels, histogram: Histogram) -> Iterator[str]:
        bounds = (*map(repr, histogram.bounds), "+Inf")
        for bound, count in zip(bounds, accumulate(histogram.counts), strict=True):
            yield f"{name}_bucket{_braces((*labels, ('le', bound)))} {float(count)!r}\n"
        yield f"{name}_count{_braces(labels)} {float(sum(histogram.counts))!r}\n"
        yield f"{name}_sum{_braces(labels)} {histogram.sum!r}\n"


Read = Callable[[EngineState], float]
_GAUGES: tuple[tuple[str, str, Read], ...] = (
    (
        "vllm:num_requests_running",
        "Number of requests in model execution batches.",
        lambda state: float(state.running),
    ),
    (
        "vllm:num_requests_waiting",
        "Number of requests waiting to be processed.",
        lambda state: float(state.waiting),
    ),
    (
        "vllm:kv_cache_usage_perc",
        "KV-cache usage. 1 means 100 percent usage.",
        lambda state: float(state.kv_cache_usage),
    ),
    (
        "vllm:gpu_cache_usage_perc",
        "KV-cache usage, by the name that it had before.",
        lambda state: float(state.kv_cache_usage),
    ),
)
_ENGINE_COUNTERS: tuple[tuple[str, str, Read], ...] = (
    (
        "vllm:num_preemptions",
        "Cumulative number of preemption from the engine.",
        lambda state: state.preemptions,
    ),
    (
        "vllm:prefix_cache_queries",
        "Prefix cache queries, in terms of number of queried tokens.",
        lambda state: state.prefix_cache_queries,
    ),
    (
        "vllm:prefix_cache_hits",
        "Prefix cache hits, in terms of number of cached tokens.",
        lambda state: state.prefix_cache_hits,
    ),
)


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _braces(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
