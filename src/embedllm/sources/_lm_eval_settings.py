"""What a results file of the lm-evaluation-harness says about a run: which model it is, what makes its answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from embedllm.sources._lm_eval_prompts import object_of, shots_of
from embedllm.sources._lm_eval_samples import is_text

NAMES = ("peft", "delta", "pretrained", "model", "path", "engine")  # the argument that names a model, in this order
DEFAULTS = {
    "revision": "main", "dtype": "auto", "load_in_4bit": "False", "load_in_8bit": "False", "fewshot_seed": "1234",
}
NO_ANSWER = frozenset((  # arguments that do not make the answers
    "batch_size", "max_batch_size", "seed",  # how many at a time, which draw
    "device", "device_map", "device_map_option", "parallelize", "max_memory_per_gpu", "max_cpu_memory", "gpus",
    "offload_folder", "tensor_parallel_size", "data_parallel_size", "pipeline_parallel_size", "swap_space",
    "gpu_memory_utilization", "low_cpu_mem_usage", "enforce_eager", "attn_implementation",  # where it is computed
    "cache_dir", "download_dir", "logits_cache", "trust_remote_code",  # how it is loaded
    "base_url", "num_concurrent", "max_retries", "timeout", "verify_certificate", "token", "use_auth_token",  # by whom
))
SECRET = ("key", "secret", "password", "token", "header", "auth", "credential")  # in further ones; no name shows them
OF_PROMPTS = (  # of a task's configuration, what makes its prompts and how answers are taken
    "dataset_path", "dataset_name", "test_split", "output_type", "description", "doc_to_text", "doc_to_target",
    "doc_to_choice", "process_docs", "target_delimiter", "fewshot_delimiter", "generation_kwargs",
)
OF_TASK = (  # how a model is asked: people set these for some tasks only
    "max_length", "max_model_len", "max_gen_toks", "truncation", "add_bos_token", "enable_thinking",
)


def name_of(results: Mapping[str, object]) -> str:
    """The model that a results file tells, "" where none."""
    args = _arguments(object_of(results.get("config")).get("model_args"))
    named = [results.get("model_name"), *(args.get(key) for key in NAMES)]
    name = next((name for name in named if is_text(name)), "")
    return name.strip().rstrip("/") or name


def settings_of(results: Mapping[str, object]) -> dict[str, str]:
    """The arguments that make a model what it is, beside its name, `NO_ANSWER`, `OF_TASK` and `DEFAULTS`."""
    args = _arguments(object_of(results.get("config")).get("model_args"))
    name = name_of(results)
    return {key: value for key, value in args.items()
            if key not in NO_ANSWER and key not in OF_TASK and not any(word in key.lower() for word in SECRET)
            and value != DEFAULTS.get(key) and value.rstrip("/") != name}


def task_settings_of(results: Mapping[str, object], task: str) -> dict[str, str]:
    """What else makes the answers to a task: how it was asked, and by which program; tasks may differ in it."""
    config = object_of(results.get("config"))
    args = _arguments(config.get("model_args"))
    shots = shots_of(results, task).number
    template = _digest(results, "chat_template")
    said = {key: args.get(key) for key in OF_TASK} | {
        "num_fewshot": None if shots is None else str(shots),
        "gen_kwargs": ",".join(f"{key}={value}" for key, value in sorted(_arguments(config.get("gen_kwargs")).items())),
        "chat_template": template,
        "system_instruction": _digest(results, "system_instruction"),
        "fewshot_as_multiturn": _written(results.get("fewshot_as_multiturn")) if template and shots else "",
        "fewshot_seed": _written(config.get("fewshot_seed")) if shots else "",
        "task": _asked(object_of(object_of(results.get("configs")).get(task))),
        "model": _written(config.get("model") or results.get("model_source")),
    }
    return {key: value for key, value in said.items() if value and value != DEFAULTS.get(key)}


def _asked(task: Mapping[str, object]) -> str:
    """The first digits of a hash of what a task's configuration says of its prompts; "" where it says nothing."""
    told = {key: task[key] for key in OF_PROMPTS if key in task}
    version = object_of(task.get("metadata")).get("version")
    text = json.dumps([told, version], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8] if told or version is not None else ""


def _digest(results: Mapping[str, object], key: str) -> str:
    """The first digits of the hash of a text, as the harness tells it or taken here."""
    if is_text(told := results.get(f"{key}_sha")):
        return told[:8]
    text = results.get(key)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8] if is_text(text) else ""


def _arguments(args: object) -> dict[str, str]:
    """Arguments as text: of a dict (later versions) or of "a=b,c=d"; those without a value are left out."""
    if isinstance(args, str):
        args = dict(part.split("=", 1) for part in args.split(",") if "=" in part)
    return {key.strip(): text for key, value in object_of(args).items() if is_text(key) and (text := _written(value))}


def _written(value: object) -> str:
    """A value as a text, "" for none."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    text = text.strip().removeprefix("torch.").encode("utf-8", "replace").decode()
    return {"none": "", "null": "", "true": "True", "false": "False"}.get(text.lower(), text)


def values_at(results: Iterable[Mapping[str, object]], key: str, task: str) -> list[Mapping]:
    """What results files hold for a task under a key."""
    return [held for content in results if (held := object_of(object_of(content.get(key)).get(task)))]
