"""Manifests that `motorpool up` applies at its start: directories with a kustomization each.

search.py       which directories, in which order; what is deleted before what is applied
kustomize/      a directory -> the objects that it stands for (pure but for reading files)
apply.py        objects -> the API, with retries
"""
