"""PMML documents, written for the tests; those of scikit-learn's models from what they learned."""

from typing import Any

HEAD = '<?xml version="1.0"?><PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>'


def document(model: str, transformations: str = "", **fields: str) -> str:
    """*fields*: the type of each; a text's is `string`."""
    declared = "".join(
        f'<DataField name="{name}" dataType="{kind}" '
        f'optype="{"categorical" if kind == "string" else "continuous"}"/>'
        for name, kind in fields.items()
    )
    dictionary = f"<DataDictionary>{declared}</DataDictionary>"
    return f"{HEAD}{dictionary}{transformations}{model}</PMML>"


def schema(*active: str, target: str = "", replace: str = "") -> str:
    fields = "".join(f'<MiningField name="{each}" {replace}/>' for each in active)
    if target:
        fields += f'<MiningField name="{target}" usageType="target"/>'
    return f"<MiningSchema>{fields}</MiningSchema>"


def model(kind: str, function: str, content: str, **attributes: str) -> str:
    more = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<{kind} functionName="{function}"{more}>{content}</{kind}>'


def output(name: str, feature: str, value: str = "", content: str = "") -> str:
    of = f' value="{value}"' if value else ""
    return f'<OutputField name="{name}" feature="{feature}"{of}>{content}</OutputField>'


def probabilities(categories: Any) -> str:
    return "".join(output(f"p_{each}", "probability", str(each)) for each in categories)


def logistic(fitted: Any, names: list[str]) -> str:
    """Of more than two classes."""
    tables = "".join(
        f'<RegressionTable targetCategory="{category}" intercept="{intercept!r}">'
        + "".join(
            f'<NumericPredictor name="{name}" coefficient="{coefficient!r}"/>'
            for name, coefficient in zip(names, coefficients, strict=True)
        )
        + "</RegressionTable>"
        for category, intercept, coefficients in zip(
            fitted.classes_, fitted.intercept_.tolist(), fitted.coef_.tolist(), strict=True
        )
    )
    content = schema(*names, target="y") + f"<Output>{probabilities(fitted.classes_)}</Output>"
    return model(
        "RegressionModel", "classification", content + tables, normalizationMethod="softmax"
    )


def tree(fitted: Any, names: list[str], extra: str = "") -> str:
    """Of a classifier or a regressor."""
    grown = fitted.tree_
    classes = getattr(fitted, "classes_", None)

    def node(index: int, predicate: str) -> str:
        values = grown.value[index][0].tolist()
        if classes is None:
            score, shares = repr(values[0]), ""
        else:
            score = classes[values.index(max(values))]
            shares = "".join(
                f'<ScoreDistribution value="{name}" recordCount="{share!r}"/>'
                for name, share in zip(classes, values, strict=True)
            )
        below = ""
        if grown.children_left[index] >= 0:
            name, limit = names[grown.feature[index]], float(grown.threshold[index])
            for child, kind in (
                (grown.children_left[index], "lessOrEqual"),
                (grown.children_right[index], "greaterThan"),
            ):
                test = f'<SimplePredicate field="{name}" operator="{kind}" value="{limit!r}"/>'
                below += node(int(child), test)
        return f'<Node id="{index}" score="{score}">{predicate}{shares}{below}</Node>'

    function = "regression" if classes is None else "classification"
    content = schema(*names, target="y") + extra + node(0, "<True/>")
    return model("TreeModel", function, content, splitCharacteristic="binarySplit")


def ensemble(method: str, function: str, members: list[str], content: str = "") -> str:
    segments = "".join(f'<Segment id="{i}"><True/>{m}</Segment>' for i, m in enumerate(members))
    together = f'<Segmentation multipleModelMethod="{method}">{segments}</Segmentation>'
    return model("MiningModel", function, content + together)
