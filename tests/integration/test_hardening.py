"""What the compiler and the linker were told to do against exploits, read off the binaries."""

import functools
import platform
import re
import subprocess

import pytest

from relay import BINARIES, is_sanitized

pytestmark = pytest.mark.parametrize("role", ["master", "repeater"])


@functools.cache
def readelf(role, *options):
    return subprocess.run(["readelf", "-W", *options, BINARIES[role]], capture_output=True, text=True, check=True).stdout


def test_it_is_loaded_at_a_random_address(role):
    assert re.search(r"Type:\s+DYN", readelf(role, "-h"))
    assert re.search(r"FLAGS_1.*\bPIE\b", readelf(role, "-d"))


def test_tables_of_the_linker_are_read_only_before_it_runs(role):
    """Full RELRO: everything is bound at the start, and then protected."""
    assert "GNU_RELRO" in readelf(role, "-l")
    assert re.search(r"BIND_NOW|FLAGS_1.*\bNOW\b", readelf(role, "-d"))


def test_no_memory_is_both_writable_and_executable(role):
    headers = readelf(role, "-l")
    stack = re.search(r"GNU_STACK\s+(?:0x\w+\s+){5}([RWE ]{3})", headers)
    assert stack and "E" not in stack[1]
    assert not any(re.search(r"LOAD.*\bRWE\b", line) for line in headers.splitlines())


def test_functions_check_their_stack(role):
    assert "__stack_chk_fail" in readelf(role, "--dyn-syms")


def test_sizes_are_checked_where_the_compiler_knows_them(role):
    if is_sanitized():
        pytest.skip("the address sanitizer checks them")
    assert re.search(r"__(memcpy|snprintf|vsnprintf|read|recv|fprintf|strncpy)_chk", readelf(role, "--dyn-syms"))


def test_the_standard_library_asserts(role):
    assert "__glibcxx_assert_fail" in readelf(role, "--dyn-syms")


def test_jumps_go_where_they_may(role):
    """Whether the loader turns it on depends on every object; the code of this repository is ready for it."""
    instruction = {"x86_64": "endbr64", "aarch64": "bti|paciasp"}.get(platform.machine())
    if instruction is None:
        pytest.skip("the target has no such protection")
    code = subprocess.run(["objdump", "-d", "--disassemble=main", BINARIES[role]], capture_output=True, text=True).stdout
    assert re.search(instruction, code)
