"""CEL, the language of validation rules, as the Kubernetes API runs it. Pure.

``engine`` compiles and runs expressions, ``functions`` holds Kubernetes' additions to the language,
``values`` turns JSON into what expressions see, ``rules`` applies the rules of a schema.
"""
