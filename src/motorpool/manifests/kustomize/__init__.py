"""The part of kustomize that manifests of the field use: a directory becomes objects.

    kustomization.py   the file, checked: what we do not know is refused, never ignored
    build.py           resources, bases and generators; then what changes them, in kustomize's order
    patching.py transform.py generate.py references.py    one kind of change each
    fields.py          where in which kinds names, labels and images stand

Rule: for what it takes, the result is that of `kubectl kustomize`, objects, order and hashes; the
tests compare the two.
"""
