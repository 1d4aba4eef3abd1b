"""Runs the harness on the tasks of this folder, as its command line would: two models, one of them twice."""

import sys
import time

from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

OUTPUT = sys.argv[1]
TASKS, SHOTS = ["planets", "echo", "living"], ["planets", "rivers", "lakes", "brooks"]
RUNS = (  # folder beside the others, name, seed of its random answers, documents a task, tasks, worked examples
    ("", "owner/small", 1, None, TASKS, None), ("", "owner/large", 2, None, TASKS, None),
    ("", "owner/small", 3, 5, TASKS, None),
    ("-0", "owner/small", 1, None, SHOTS, 0), ("-2", "owner/small", 1, None, SHOTS, 2),
)
manager = TaskManager(include_path=".", include_defaults=False)
for folder, name, seed, limit, tasks, shots in RUNS:
    tracker = EvaluationTracker(output_path=OUTPUT + folder)
    results = simple_evaluate(
        "dummy", model_args=f"pretrained={name}", tasks=tasks, limit=limit, num_fewshot=shots,
        evaluation_tracker=tracker, task_manager=manager, bootstrap_iters=0, random_seed=seed,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in results["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    time.sleep(0.01)  # the times in the names differ
