"""Hold the workflows to what can be checked without running them: syntax, targets and tools that exist, no secrets.

Where `actionlint` is on the path it looks too; in CI it does.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
#: Keys of a workflow, of a job and of a step, as GitHub documents them.
_KEYS = {
    "workflow": {"name", "run-name", "on", "permissions", "env", "defaults", "concurrency", "jobs"},
    "job": {"name", "needs", "if", "runs-on", "timeout-minutes", "environment", "permissions", "env", "strategy",
            "steps", "outputs", "concurrency", "defaults", "container", "services", "continue-on-error"},
    "step": {"name", "id", "if", "uses", "with", "run", "env", "shell", "working-directory", "timeout-minutes",
             "continue-on-error"},
}  # fmt: skip


def faults(root: Path = ROOT) -> list[str]:
    """A sentence for each thing that is wrong in .github/workflows."""
    found = []
    for path in sorted((root / ".github" / "workflows").glob("*.yml")):
        try:
            # YAML 1.1 reads the key `on` as true.
            flow = {("on" if key is True else key): value for key, value in yaml.safe_load(path.read_text()).items()}
        except (yaml.YAMLError, AttributeError) as error:
            found.append(f"{path.name} is no workflow: {error}")
            continue
        found += [f"{path.name}: {fault}" for fault in _of_workflow(flow, root)]
    if shutil.which("actionlint"):
        done = subprocess.run(["actionlint"], cwd=root, check=False, capture_output=True, text=True)
        found += done.stdout.splitlines() if done.returncode else []
    return found


def _of_workflow(flow: Mapping[str, Any], root: Path) -> Iterator[str]:
    yield from _unknown("workflow", flow)
    yield from (f"lacks {key}" for key in ("name", "on", "permissions", "jobs") if key not in flow)
    jobs = flow.get("jobs") or {}
    for name, job in jobs.items():
        yield from (f"{name}: {fault}" for fault in _of_job(job, jobs, root))


def _of_job(job: Mapping[str, Any], jobs: Mapping[str, Any], root: Path) -> Iterator[str]:
    yield from _unknown("job", job)
    yield from (f"lacks {key}" for key in ("runs-on", "steps") if key not in job)
    if len(job.get("steps", [])) > 1 and "timeout-minutes" not in job:
        yield "lacks timeout-minutes"
    needs = job.get("needs", [])
    yield from (f"needs {n}, which is no job" for n in ([needs] if isinstance(needs, str) else needs) if n not in jobs)
    for number, step in enumerate(job.get("steps", []), 1):
        yield from (f"step {number}: {fault}" for fault in _of_step(step, root))


def _of_step(step: Mapping[str, Any], root: Path) -> Iterator[str]:
    yield from _unknown("step", step)
    if ("run" in step) == ("uses" in step):
        yield "must have either run or uses"
    if "uses" in step and not re.fullmatch(r"docker://\S+:\S+|[\w.-]+/[\w./-]+@[\w./-]+", step["uses"]):
        yield f"uses must name an action and its version; got {step['uses']!r}"
    if "${{ secrets." in str(step):
        yield "uses a secret, which a fork does not have"
    script = str(step.get("run", ""))
    if re.search(r"\$\{\{\s*github\.(event|head_ref)", script):
        yield "puts what a stranger may write into a script"
    plain = re.sub(r"\$\{\{.*?\}\}", "x", script)
    done = subprocess.run(["bash", "-n"], input=plain, check=False, capture_output=True, text=True)
    if done.returncode:
        yield f"run is no shell script: {done.stderr.strip()}"
    targets = set(re.findall(r"^([\w-]+):", (root / "Makefile").read_text(), re.M))
    called = re.findall(r"(?:^|&&|;)\s*make ([\w-]+)", script, re.M)
    yield from (f"calls make {target}, which the Makefile lacks" for target in called if target not in targets)
    for module in re.findall(r"-m (tools\.\w+)", script):
        if not (root / f"{module.replace('.', '/')}.py").exists():
            yield f"calls {module}, which is not there"


def _unknown(what: str, entry: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"has the unknown key {key!r}" for key in entry if key not in _KEYS[what])


def main() -> int:
    """Check; return the exit status."""
    found = faults()
    print("\n".join(found) or "The workflows call what is there.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
