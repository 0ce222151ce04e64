"""Models in PMML answer as the models that they were made from, and as KServe's pmmlserver."""

import json

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from motorpool.modelserver.contract import EngineError
from motorpool.modelserver.estimators.pmml import engine
from tests.modelserver import pmml
from tests.modelserver.server import started

RANDOM = np.random.default_rng(5)
NAMES = ["a", "b", "c", "d"]
NUMBERS = dict.fromkeys(NAMES, "double")
ROWS = RANDOM.normal(size=(90, 4)).astype(np.float32).astype(float)
CLASSES = np.array(["setosa", "versicolor", "virginica"])[np.arange(90) % 3]
ROWS[:, 0] += 2 * (np.arange(90) % 3)
TARGETS = ROWS[:, 0] * 2 + ROWS[:, 1] ** 2


@pytest.fixture
def loaded(tmp_path):
    def load(text):
        (tmp_path / "model.pmml").write_text(text)
        return engine.load(tmp_path / "model.pmml")

    return load


def answers(model, rows):
    """By the names of the results."""
    rows = np.array(rows, dtype=object if isinstance(rows, list) else None)
    columns, _ = model.infer([rows])
    return {
        spec.name: column.tolist() for spec, column in zip(model.spec.outputs, columns, strict=True)
    }


def words(column):
    return [each.decode() for each in column]


def test_a_logistic_regression_answers_as_the_one_it_was_made_from(loaded):
    fitted = LogisticRegression(max_iter=5000).fit(ROWS, CLASSES)
    model = loaded(pmml.document(pmml.logistic(fitted, NAMES), **NUMBERS, y="string"))

    found = answers(model, ROWS)

    assert words(found["y"]) == fitted.predict(ROWS).tolist()
    mine = np.transpose([found[f"p_{name}"] for name in fitted.classes_])
    np.testing.assert_allclose(mine, fitted.predict_proba(ROWS), rtol=1e-12)


def test_a_tree_answers_as_the_one_it_was_made_from(loaded):
    fitted = DecisionTreeClassifier(max_depth=4, random_state=0).fit(ROWS, CLASSES)
    outputs = pmml.output("Node_Id", "entityId") + pmml.probabilities(fitted.classes_)
    node = f"<Output>{outputs}</Output>"
    model = loaded(pmml.document(pmml.tree(fitted, NAMES, node), **NUMBERS, y="string"))

    found = answers(model, ROWS)

    assert words(found["y"]) == fitted.predict(ROWS).tolist()
    assert words(found["Node_Id"]) == [str(each) for each in fitted.apply(ROWS)]
    mine = np.transpose([found[f"p_{name}"] for name in fitted.classes_])
    np.testing.assert_allclose(mine, fitted.predict_proba(ROWS), rtol=1e-12)


def test_forests_answer_as_those_they_were_made_from(loaded):
    forest = RandomForestClassifier(7, max_depth=3, random_state=0).fit(ROWS, CLASSES)
    for each in forest.estimators_:
        each.classes_ = forest.classes_
    content = pmml.schema(*NAMES, target="y")
    content += f"<Output>{pmml.probabilities(forest.classes_)}</Output>"
    trees = [pmml.tree(each, NAMES) for each in forest.estimators_]
    mean = pmml.ensemble("average", "classification", trees, content)
    found = answers(loaded(pmml.document(mean, **NUMBERS, y="string")), ROWS)

    mine = np.transpose([found[f"p_{name}"] for name in forest.classes_])
    np.testing.assert_allclose(mine, forest.predict_proba(ROWS), rtol=1e-9)

    regression = RandomForestRegressor(7, max_depth=3, random_state=0).fit(ROWS, TARGETS)
    trees = [pmml.tree(each, NAMES) for each in regression.estimators_]
    mean = pmml.ensemble("average", "regression", trees, content.partition("<Output")[0])
    found = answers(loaded(pmml.document(mean, **NUMBERS, y="double")), ROWS)
    np.testing.assert_allclose(found["y"], regression.predict(ROWS), rtol=1e-9)


def line(intercept, **coefficients):
    predictors = "".join(
        f'<NumericPredictor name="{name}" coefficient="{each}"/>'
        for name, each in coefficients.items()
    )
    return f'<RegressionTable intercept="{intercept}">{predictors}</RegressionTable>'


def regression(content, *active, **attributes):
    return pmml.model(
        "RegressionModel", "regression", pmml.schema(*active, target="y") + content, **attributes
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [("sum", 30), ("average", 10), ("median", 6), ("max", 20), ("selectFirst", 4)],
)
def test_regressions_are_combined_as_the_ensemble_says(loaded, method, expected):
    members = [regression(line(i, a=k), "a") for i, k in ((0, 2), (0, 3), (10, 5))]
    text = pmml.ensemble(method, "regression", members, pmml.schema("a", target="y"))

    assert answers(loaded(pmml.document(text, a="double", y="double")), [[2.0]]) == {
        "y": [expected]
    }


def test_a_chain_hands_on_what_it_found(loaded):
    content = f"<Output>{pmml.output('half', 'predictedValue')}</Output>{line(0, a=0.5)}"
    members = [regression(content, "a"), regression(line(1, half=10), "half")]
    targets = (
        '<Targets><Target rescaleFactor="2" rescaleConstant="1" castInteger="round"/></Targets>'
    )
    text = pmml.ensemble(
        "modelChain", "regression", members, pmml.schema("a", target="y") + targets
    )

    assert answers(loaded(pmml.document(text, a="double", y="integer")), [[0.31]]) == {"y": [6]}


def test_fields_are_derived_and_words_are_categories(loaded):
    scaled = """<TransformationDictionary>
      <DerivedField name="t"><NormContinuous field="a">
        <LinearNorm orig="0" norm="0"/><LinearNorm orig="10" norm="1"/>
        <LinearNorm orig="20" norm="3"/>
      </NormContinuous></DerivedField>
      <DerivedField name="u"><Apply function="+"><FieldRef field="t"/>
        <Apply function="*"><Constant>2</Constant><Constant>3</Constant></Apply></Apply>
      </DerivedField>
      <DerivedField name="v"><NormDiscrete field="colour" value="red"/></DerivedField>
    </TransformationDictionary>"""
    category = '<CategoricalPredictor name="colour" value="deep blue" coefficient="1000"/>'
    table = line(0, u=1, v=100).replace("</RegressionTable>", f"{category}</RegressionTable>")
    doubled = pmml.output(
        "twice",
        "transformedValue",
        "",
        '<Apply function="*"><FieldRef field="y"/><Constant>2</Constant></Apply>',
    )
    text = regression(f"<Output>{doubled}</Output>{table}", "a", "colour")
    model = loaded(pmml.document(text, scaled, a="double", colour="string", y="double"))

    found = answers(model, [[5.0, "red"], [15.0, "deep blue"], [25.0, "x"], [None, "red"]])

    assert found["y"][:3] == [106.5, 1008, 10]
    assert found["twice"][:3] == [213, 2016, 20]
    assert np.isnan([found["y"][3], found["twice"][3]]).all()
    assert model.spec.inputs[0].datatype == "BYTES"


NODES = """<Node id="0" score="0" defaultChild="2"><True/>
  <Node id="1" score="1"><SimplePredicate field="a" operator="lessThan" value="0"/></Node>
  <Node id="2" score="2"><CompoundPredicate booleanOperator="and">
    <SimplePredicate field="a" operator="greaterOrEqual" value="0"/>
    <SimpleSetPredicate field="b" booleanOperator="isIn">
      <Array type="string">x "y z"</Array></SimpleSetPredicate>
  </CompoundPredicate></Node></Node>"""


@pytest.mark.parametrize(
    ("attributes", "row", "expected"),
    [
        ({}, [-1.0, "x"], 1),
        ({}, [1.0, "y z"], 2),
        ({}, [1.0, "z"], None),
        ({"noTrueChildStrategy": "returnLastPrediction"}, [1.0, "z"], 0),
        ({}, [None, "x"], None),
        ({"missingValueStrategy": "defaultChild"}, [None, "q"], 2),
        ({"missingValueStrategy": "lastPrediction"}, [None, "x"], 0),
        ({"missingValueStrategy": "nullPrediction"}, [None, "x"], None),
    ],
)
def test_a_tree_knows_what_to_do_with_what_is_missing(loaded, attributes, row, expected):
    content = pmml.schema("a", "b", target="y") + NODES
    text = pmml.model("TreeModel", "regression", content, **attributes)
    found = answers(loaded(pmml.document(text, a="double", b="string", y="double")), [row])["y"]

    assert found == [expected] if expected is not None else np.isnan(found[0])


def test_a_value_may_be_replaced_where_it_is_missing(loaded):
    content = pmml.schema("a", replace='missingValueReplacement="7"') + line(0, a=2)
    text = pmml.model("RegressionModel", "regression", content)

    model = loaded(pmml.document(text, a="double"))

    assert answers(model, [[None], [1.0]]) == {"predictedValue": [14, 2]}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (pmml.document("<NeuralNetwork/>"), "the model NeuralNetwork"),
        (pmml.document(""), "0 models"),
        (pmml.document(regression("<RegressionTable intercept='x'/>")), "intercept='x'"),
        (pmml.document(pmml.ensemble("selectAll", "regression", [])), "by selectAll"),
        (
            pmml.document(pmml.model("TreeModel", "regression", NODES, missingValueStrategy="w")),
            "w",
        ),
        ("<PMML/>", "DataDictionary"),
        ("<PMML", "cannot read"),
        (
            f'<!DOCTYPE a [<!ENTITY b "{"c" * 9000}">]><PMML>{"&b;" * 9000}</PMML>',
            "cannot read",
        ),
    ],
)
def test_what_is_not_understood_is_refused_by_its_name(loaded, text, named):
    with pytest.raises(EngineError, match=named):
        loaded(text)


@pytest.mark.slow
def test_the_answers_look_as_behind_kserves_pmmlserver(tmp_path):
    fitted = DecisionTreeClassifier(max_depth=2, random_state=0).fit(ROWS, CLASSES)
    node = f"<Output>{pmml.output('p_setosa', 'probability', 'setosa')}</Output>"
    text = pmml.document(pmml.tree(fitted, NAMES, node), **NUMBERS, y="string")
    (tmp_path / "model.pmml").write_text(text)
    given = {"name": "x", "shape": [2, 4], "datatype": "FP64", "data": ROWS[:2].tolist()}
    expected = fitted.predict(ROWS[:2]).tolist()

    with started(tmp_path, log=tmp_path / "log") as server:
        listed = {"instances": ROWS[:2].tolist()}
        named = {"instances": [dict(zip(NAMES, row, strict=True)) for row in ROWS[:2].tolist()]}
        v1, by_name = (
            server.call("POST", "/v1/models/m:predict", json.dumps(each)).json["predictions"]
            for each in (listed, named)
        )
        v2 = server.infer({"inputs": [given]}).json["outputs"]

    assert [each["y"] for each in v1] == expected
    assert list(v1[0]) == ["y", "p_setosa"]
    assert by_name == v1
    assert [(each["name"], each["datatype"]) for each in v2] == [
        ("y", "BYTES"),
        ("p_setosa", "FP64"),
    ]
    assert v2[0]["data"] == expected


@pytest.mark.slow
def test_a_regression_answers_with_an_object_too_and_words_come_as_such(tmp_path):
    category = '<CategoricalPredictor name="colour" value="red" coefficient="5"/>'
    table = line(1, a=2).replace("</RegressionTable>", f"{category}</RegressionTable>")
    text = pmml.document(regression(table, "a", "colour"), a="double", colour="string", y="double")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.pmml").write_text(text)

    with started(tmp_path, log=tmp_path / "log") as server:
        body = json.dumps({"instances": [[1.5, "red"], [2, "blue"]]})
        answer = server.call("POST", "/v1/models/m:predict", body)

    assert answer.json == {"predictions": [{"y": 9}, {"y": 5}]}
