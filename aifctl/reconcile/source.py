"""The Git repository that is followed: one ref of it, fetched into a bare mirror by the `git` command.

Nothing of the repository runs: no hook, no filter, no submodule, and only the transports of `PROTOCOLS`. Credentials,
proxies and authorities are those of the user's own Git settings. The mirror keeps the last commit that was fetched, so
a remote that is gone stops nothing but news.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from aifctl import digest
from aifctl.diagnostics import Diagnostic, Report

PROTOCOLS = "file:git:http:https:ssh"
"""`ext::` would run any command. https://git-scm.com/docs/git#Documentation/git.txt-codeGITALLOWPROTOCOLcode"""
HEAD = "refs/aifctl/head"
PATIENCE = 120.0
"""Seconds for one fetch."""
SETTINGS = (
    f"core.hooksPath={os.devnull}",
    "core.fsmonitor=false",
    "core.symlinks=true",
    "fetch.fsckObjects=true",
    "gc.autoDetach=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
)
ELSEWHERE = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_CEILING_DIRECTORIES", "GIT_PREFIX", "GIT_EXTERNAL_DIFF",
)  # fmt: skip
"""Variables of a caller that would lead to another repository."""


class Source:
    """`mirror` is a bare repository below `state`, one for each repository and ref."""

    def __init__(self, repository: str, ref: str, state: Path) -> None:
        _check(repository, ref)
        self.repository = str(Path(repository).absolute()) if _is_path(repository) else repository
        self.ref = ref
        self.mirror = state.absolute() / f"git-{digest.of_value([self.repository, ref])[:12]}"

    async def fetch(self) -> str:
        """The commit that the ref names now. Raises Report (AIF770)."""
        if not (self.mirror / "HEAD").is_file():
            try:
                self.mirror.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._failed(f"can't write {self.mirror}: {error.strerror}") from None
            await self._git("init", "--quiet", "--bare", str(self.mirror))
        await self._git(
            "--git-dir", str(self.mirror), "fetch", "--quiet", "--force", "--depth=1", "--no-tags",
            "--no-recurse-submodules", "--no-write-fetch-head", "--", self.repository, f"{self.ref}:{HEAD}",
        )  # fmt: skip
        return await self._commit()

    async def last(self) -> str | None:
        """The commit of the last fetch that went well, None if there was none."""
        try:
            return await self._commit()
        except Report:
            return None

    async def _commit(self) -> str:
        found = await self._git("--git-dir", str(self.mirror), "rev-parse", "--verify", f"{HEAD}^{{commit}}")
        return found.strip()

    async def _git(self, *arguments: str) -> str:
        settings = [word for setting in SETTINGS for word in ("-c", setting)]
        try:
            process = await asyncio.create_subprocess_exec(
                "git", *settings, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, env=_environment(), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise self._failed(f"can't start git: {error.strerror}") from None
        try:
            async with asyncio.timeout(PATIENCE):
                out, err = await process.communicate()
        except TimeoutError:
            raise self._failed(f"no answer in {PATIENCE:.0f} s") from None
        finally:
            _end(process)
        if process.returncode:
            raise self._failed(_last_words(err))
        return out.decode("utf-8", "replace")

    def _failed(self, why: str) -> Report:
        hint = "the last good commit is kept up; `git ls-remote` with the same settings asks the same"
        return Report(Diagnostic("AIF770", f"{_without_password(self.repository)} {self.ref}: {why}", hint))


def _check(repository: str, ref: str) -> None:
    for text in (repository, ref):
        if not text or text.startswith("-") or any(ord(character) < 33 for character in text):
            raise Report(
                Diagnostic("AIF770", f"`{text}` can't be a repository or ref", "give a URL or path, and a branch")
            )
    if ":" in ref or "^" in ref or "*" in ref:
        raise Report(Diagnostic("AIF770", f"`{ref}` can't be a ref", "name a branch, a tag or a whole commit id"))


def _is_path(repository: str) -> bool:
    return "://" not in repository and "::" not in repository and (":" not in repository or Path(repository).exists())


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    return {**kept, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": PROTOCOLS}


def _end(process: asyncio.subprocess.Process) -> None:
    """With the helpers that it has started."""
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def _last_words(err: bytes) -> str:
    lines = [line.strip() for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "no message")
    return "".join(c for c in told.partition(": ")[2] or told if c.isprintable())[:300]


def _without_password(repository: str) -> str:
    scheme, separator, rest = repository.partition("://")
    if not separator or "@" not in rest.partition("/")[0]:
        return repository
    return f"{scheme}://{rest.partition('@')[2]}"
