"""Fitted Gaussian processes for the tests of their explorer: the golden eleven points, a table, two moons."""

import functools

import numpy as np
import pandas as pd
from sklearn.datasets import make_moons
from sklearn.gaussian_process.kernels import RBF

import workbench as wb

X = np.linspace(0, 1, 11)[:, None]
Y = np.array(
    [
        0.38476637,
        1.23339677,
        1.33232242,
        0.69201595,
        -0.29756146,
        -0.24189291,
        -0.79644858,
        -0.96164802,
        -0.49672510,
        -0.34696660,
        0.55895127,
    ]
)


def truth(inputs):
    return np.sin(2 * np.pi * inputs[:, 0])


@functools.cache
def golden(**options):
    options = {"noise": 0.2, "steps": 6, "hyperparameters": "fixed"} | options
    return wb.gp.SelfDistilledGPR(RBF(np.sqrt(1 / 160)), **options).fit(X, Y)


@functools.cache
def table(rows=60):
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(rows, 3)), columns=["age", "<b>bmi</b>", "pressure"])
    target = np.sin(frame["age"]) + 0.5 * frame["<b>bmi</b>"] + 0.1 * draw.normal(size=rows)
    return frame, pd.Series(target, name="progress")


@functools.cache
def fitted_table():
    frame, target = table()
    return wb.gp.SelfDistilledGPR("rbf", noise=0.1, steps=4, hyperparameters="fixed", normalize_y=True).fit(
        frame, target
    )


@functools.cache
def moons(**options):
    inputs, labels = make_moons(50, noise=0.2, random_state=0)
    options = {"steps": 3, "hyperparameters": "fixed"} | options
    return wb.gp.SelfDistilledGPC(4 * RBF(0.6), **options).fit(inputs, np.array(["<i>up</i>", "down"])[labels])


def moons_test():
    inputs, labels = make_moons(80, noise=0.2, random_state=1)
    return inputs, np.array(["<i>up</i>", "down"])[labels]
