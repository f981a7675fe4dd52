"""Become an ordinary user who may still read what only root may, then become the given program.

Run by path as ``python -I -S as_user.py UID GID SIGNAL PROGRAM ARGUMENTS``; imports nothing of the kit. PostgreSQL
refuses to run as user 0 but cares for no capability, so keeping CAP_DAC_OVERRIDE spares a copy of its programs and
opening private folders to everybody.

Source: capabilities(7), "Effect of user ID changes on capabilities" and "Ambient capabilities".
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2  # capabilities outlive setuid, and access(2) counts them for a user other than root
_CAP_DAC_OVERRIDE, _CAP_FOWNER = 1, 3  # read and write anything; chmod what root made (CREATE TABLESPACE does)
_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def become(user: int, group: int, death_signal: int) -> None:
    """Turn this process into *user*, keeping two capabilities across the next exec.

    Raises:
        OSError: the kernel, or whoever set up this container, does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getppid()
    _call(libc, "prctl", _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([group])
    os.setgid(group)
    os.setuid(user)
    kept = (1 << _CAP_DAC_OVERRIDE) | (1 << _CAP_FOWNER)
    header, sets = _Header(_CAPABILITY_VERSION_3, 0), (_Data * 2)(_Data(kept, kept, kept), _Data(0, 0, 0))
    if libc.capset(ctypes.byref(header), ctypes.byref(sets)) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    for capability in (_CAP_DAC_OVERRIDE, _CAP_FOWNER):
        _call(libc, "prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)
    # asked for again: the kernel forgets it when credentials change
    _call(libc, "prctl", _PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        raise OSError("the supervisor is gone")


def _call(libc: ctypes.CDLL, function: str, *arguments: int) -> None:
    if getattr(libc, function)(*(ctypes.c_ulong(each) for each in arguments)) != 0:
        raise OSError(ctypes.get_errno(), f"{function}{arguments}")


def main(arguments: list[str]) -> None:
    """Become the user and the program named in *arguments*."""
    user, group, death_signal = (int(each) for each in arguments[:3])
    try:
        become(user, group, death_signal)
    except (OSError, AttributeError) as error:
        sys.exit(f"cannot become user {user} and still read root's folders: {error}; run as a user other than root")
    os.execv(arguments[3], arguments[3:])  # noqa: S606  the program is the kit's choice


if __name__ == "__main__":
    main(sys.argv[1:])
