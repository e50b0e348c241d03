"""Parameters of a method: names, types, ranges, and what the command line writes."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import Field

from adlib import parameters
from adlib.errors import InputError
from adlib.padim import PaDiM


class Method:
    """Two parameters, and an argument that is none."""

    def __init__(
        self,
        *,
        tool: object = None,
        size: Annotated[int, Field(ge=1, le=9, description="how large")] = 3,
        mode: Annotated[Literal["fast", "exact"], Field(description="how")] = "fast",
        share: Annotated[float | None, Field(gt=0, lt=1)] = None,
    ) -> None:
        pass


def test_of_lists_the_annotated_arguments_in_order():
    found = parameters.of(Method)
    assert list(found) == ["size", "mode", "share"]
    assert (found["size"].default, found["size"].help) == (3, "how large")
    assert found["size"].allowed == "an integer >= 1 and <= 9"
    assert found["mode"].allowed == "one of 'fast', 'exact'"
    assert found["share"].allowed == "a number > 0 and < 1 or null"


def test_check_fills_in_the_defaults_and_reads_integers_as_numbers():
    complete = parameters.check(Method, {"size": 5})
    assert complete == {"size": 5, "mode": "fast", "share": None}
    eps = parameters.check(PaDiM, {"eps": 1})["eps"]
    assert (eps, type(eps)) == (1.0, float)  # else 1 and 1.0 would give two keys


@pytest.mark.parametrize("value", [np.int64(4), np.int32(4), np.uint8(4)])
def test_numpy_scalars_become_plain_numbers(value):
    assert type(parameters.check(Method, {"size": value})["size"]) is int


@pytest.mark.parametrize(
    "values",
    [
        {"size": "5"},
        {"size": 5.0},
        {"size": True},
        {"size": np.True_},
        {"size": np.float64(5)},
        {"size": None},
        {"size": 0},
        {"size": 10},
        {"mode": "Fast"},
        {"mode": 1},
        {"share": 1.0},
        {"share": "0.5"},
        {"share": [0.5]},
    ],
)
def test_wrong_types_and_ranges_are_refused_with_the_rule_and_the_value(values):
    (name, value), *_ = values.items()
    with pytest.raises(InputError) as error:
        parameters.check(Method, values)
    message = str(error.value)
    assert name in message and repr(value) in message
    assert parameters.of(Method)[name].allowed in message


@pytest.mark.parametrize("name", ["eps", "sigma"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_numbers_must_be_finite(name, value):
    with pytest.raises(InputError, match=name):
        PaDiM(**{name: value})


def test_an_unknown_name_lists_the_valid_ones_and_the_near_miss():
    with pytest.raises(InputError) as error:
        parameters.check(Method, {"sise": 5})
    assert str(error.value) == (
        "Method has no parameter 'sise'; there is mode, share, size; did you mean size?"
    )


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("dim=100", [100]),
        ("dim=25,50", [25, 50]),
        (" dim = 25 , 50 ", [25, 50]),
        ("eps=0.01,1e-4,1E-4", [0.01, 1e-4, 1e-4]),
        ("dim=010", [10]),  # 8 in YAML
        ("dim=1:40", ["1:40"]),  # 100 in YAML
        ("reduction=none,pca", ["none", "pca"]),
        ("x=true,false,null", [True, False, None]),
        ("x=no,on", ["no", "on"]),  # False and True in YAML
        ("x=a=b", ["a=b"]),
        ("x={a}", ["{a}"]),
    ],
)
def test_assignments(text, values):
    ((_, found),) = parameters.read_assignments([text]).items()
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize("value", [None, True, False, 7, 0.25, 1e-4, "2+3"])
def test_values_are_written_as_they_are_read(value):
    assert parameters.read_scalar(parameters.write_scalar(value)) == value


@pytest.mark.parametrize("text", ["dim", "=3", "dim=", "", "dim=1,,2", "dim=1,", " = "])
def test_assignments_of_another_form_are_refused(text):
    with pytest.raises(InputError):
        parameters.read_assignments([text])


def test_a_name_set_twice_is_refused():
    with pytest.raises(InputError, match="dim=A,B"):
        parameters.read_assignments(["dim=1", " dim=2"])
