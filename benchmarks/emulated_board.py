"""A Raspberry-Pi-like machine without one: Debian bookworm for arm64 in a folder, its programs run by QEMU as a given processor would.

What is emulated is real in its answers: the same wheels, the same NEON kernels, the same libraries as on a board. Its times mean nothing.

A command on it has namespaces of its own for mounts and processes. So whatever ends it, Ctrl-C or SIGKILL, nothing stays mounted and
nothing goes on running, and the folder can be removed like any other.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("mmdebstrap", "qemu-aarch64-static", "setpriv", "unshare")
RULE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")  # of Debian's qemu-user-static: by which bytes the kernel knows programs for arm64
PACKAGES = "mmdebstrap qemu-user-static util-linux"
SUITE = "bookworm"  # what Raspberry Pi OS is made of; its Python is the oldest that we support
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
# A package's wheels may name any of these, the older ones among them by another name; pip takes only what is named.
PLATFORMS = ("manylinux_2_35_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64", "linux_aarch64")

ALONE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
FOREIGN = """
set -e
kinds=/proc/sys/fs/binfmt_misc
mountpoint -q $kinds || mount -t binfmt_misc binfmt_misc $kinds
[ -e $kinds/qemu-aarch64 ] || head -n 1 "$RULE" > $kinds/register
"""
BUILD = FOREIGN + 'exec mmdebstrap --quiet --skip=check/qemu --arch=arm64 --variant=minbase --include=python3 "$@"'
# ONNX Runtime asks /sys and /proc/cpuinfo what the processor can; QEMU answers for the processor, the kernel for the machine below it.
ENTER = (
    FOREIGN
    + """
mount -t proc proc "$BOARD/root/proc"
mount --bind "$BOARD/cpuinfo" "$BOARD/root/proc/cpuinfo"
mount --rbind /sys "$BOARD/root/sys"
mount --bind /dev "$BOARD/root/dev"
mount --bind "$BOARD" "$BOARD/root/mnt"
exec chroot "$BOARD/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 QEMU_CPU="$PROCESSOR" "$@"
"""
)

# Features as Linux prints them in /proc/cpuinfo there, implementer and part: Arm's technical reference manuals, MIDR_EL1.
PROCESSORS = {
    "cortex-a76": ("fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp", "0xd0b"),
    "cortex-a72": ("fp asimd evtstrm crc32 cpuid", "0xd08"),
    "cortex-a57": ("fp asimd evtstrm aes pmull sha1 sha2 crc32", "0xd07"),
}


class Missing(Exception):  # noqa: N818 - what it says is a sentence about this machine
    """This machine cannot emulate a board; the message says what it lacks, and how to get it."""


@dataclass(frozen=True, slots=True)
class EmulatedBoard:
    """A board in a folder. There, the folder itself is /mnt: `there` says how a file in it is called."""

    folder: Path
    processor: str

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def site_packages(self) -> Path:
        """Where its packages lie, seen from here."""
        return next(self.root.glob("opt/edgewright/lib/python3*/site-packages"))

    def there(self, path: Path) -> str:
        """The name that a file in the folder has on the board."""
        return f"/mnt/{path.relative_to(self.folder)}"

    def build(self) -> None:
        """Make the root, a few minutes, unless it is there.

        Raises:
            Missing: this machine cannot.
        """
        _refuse_incapable()
        try:
            self._alone(FOREIGN)
        except subprocess.CalledProcessError as error:
            raise Missing(f"root may not mount or unshare here (a container without privileges?): {error.stderr.strip()}") from error
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.root.is_dir():
            making = self.folder / "root.making"
            shutil.rmtree(making, ignore_errors=True)
            sources = _sources()
            self._alone(BUILD, SUITE, str(making), *(["-"] if sources else []), given=sources)
            making.rename(self.root)
        features, part = PROCESSORS[self.processor]
        cores = range(len(os.sched_getaffinity(0)))
        (self.folder / "cpuinfo").write_text("".join(CPUINFO.format(core=core, features=features, part=part) for core in cores))

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on it."""
        return self._alone(ENTER, *words, check=check)

    def install(self, project: Path) -> None:
        """A fresh environment with the project's wheel and what a board needs beside it, all from wheels."""
        wheels = self.folder / "wheels"
        wheels.mkdir(exist_ok=True)
        for old in wheels.glob("edgewright-*.whl"):
            old.unlink()
        _pip("wheel", "--no-deps", "--wheel-dir", str(wheels), str(project))
        [ours] = wheels.glob("edgewright-*.whl")
        self.download(f"{ours}[ort]", "pip")
        shutil.rmtree(self.root / "opt/edgewright", ignore_errors=True)
        self.run("python3", "-m", "venv", "--without-pip", "/opt/edgewright")
        self.add("edgewright[ort]")

    def download(self, *requirements: str) -> None:
        """Fetch wheels for it."""
        version = self.run("python3", "-c", "import sys; print('{}.{}'.format(*sys.version_info))").stdout.strip()
        platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
        target = ["--only-binary=:all:", "--python-version", version, "--implementation", "cp", *platforms]
        _pip("download", "--dest", str(self.folder / "wheels"), *target, *requirements)

    def add(self, *requirements: str) -> None:
        """Install fetched wheels into its environment, by pip as it comes in its wheel: none of it stays there."""
        pip = max((self.folder / "wheels").glob("pip-*.whl"), key=lambda path: path.stat().st_mtime)
        offline = ("--no-compile", "--no-index", "--find-links", "/mnt/wheels")
        self.run("/opt/edgewright/bin/python", f"{self.there(pip)}/pip", "install", "--quiet", *offline, *requirements)

    def _alone(self, script: str, *words: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        told = {**os.environ, "RULE": str(RULE), "BOARD": str(self.folder.resolve()), "PROCESSOR": self.processor}
        command = [*ALONE, "sh", "-c", script, "sh", *words]
        return subprocess.run(command, env=told, input=given, capture_output=True, text=True, check=check)


CPUINFO = """processor\t: {core}
BogoMIPS\t: 108.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 0

"""


def _refuse_incapable() -> None:
    if sys.platform != "linux" or any(shutil.which(program) is None for program in PROGRAMS) or not RULE.is_file():
        raise Missing(f"Emulating a board takes mmdebstrap and QEMU. Run: sudo apt-get install {PACKAGES}")
    if os.geteuid() != 0:
        raise Missing("Emulating a board takes root, to mount what it sees and to run as it: run as root, or sudo make arm64")


def _sources() -> str:
    """The machine's own, where it is of the same suite; else none, and mmdebstrap takes Debian's."""
    release = Path("/etc/os-release").read_text("utf-8")
    if f"VERSION_CODENAME={SUITE}" not in release or "ID=debian" not in release.splitlines():
        return ""
    return next((path.read_text("utf-8") for path in SOURCES if path.is_file() and path.stat().st_size), "")


def _pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", words[0], "-qq", "--disable-pip-version-check", *words[1:]], check=True)
