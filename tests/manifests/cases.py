"""Kustomizations to build, each a directory: file -> text. `over` is what is built."""

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: runner
      imagePullSecrets: [{name: keys}]
      initContainers:
      - {name: load, image: "ovms-image:2", envFrom: [{secretRef: {name: keys}}]}
      containers:
      - name: main
        image: ovms-image
        envFrom: [{configMapRef: {name: settings}}]
        env:
        - {name: K, valueFrom: {secretKeyRef: {name: keys, key: a}}}
        - {name: L, valueFrom: {configMapKeyRef: {name: settings, key: a}}}
        - {name: M, value: "1"}
      - {name: side, image: "registry:5000/side:v1@sha256:0123"}
      volumes:
      - {name: p, projected: {sources: [{configMap: {name: settings}}, {secret: {name: keys}}]}}
      - {name: c, configMap: {name: settings}}
      - {name: s, secret: {secretName: keys}}
      - {name: d, persistentVolumeClaim: {claimName: data}}
"""
OTHERS = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: runner}
secrets: [{name: keys}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reads}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {kind: ServiceAccount, name: runner}
- {kind: ServiceAccount, name: default}
- {kind: ServiceAccount, name: runner, namespace: elsewhere}
- {kind: User, name: someone, apiGroup: rbac.authorization.k8s.io}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: wide}
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: wides}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: wide}
subjects: [{kind: ServiceAccount, name: runner}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 3
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  tls: [{hosts: [a.example.com], secretName: keys}]
  rules:
  - host: a.example.com
    http:
      paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: front}}}, {podSelector: {}}]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: main, image: "busybox:1"}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: often}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - {name: main, image: busybox, envFrom: [{configMapRef: {name: settings}}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store}
spec:
  serviceName: web
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec: {containers: [{name: main, image: "busybox:1.36"}]}
  volumeClaimTemplates:
  - metadata: {name: d}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
"""
SERVING = """
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: ovms, annotations: {openshift.io/display-name: OVMS}}
spec:
  containers:
  - {name: kserve-container, image: ovms-image, args: ["--port=8001"], env: [{name: A, value: b}]}
---
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterServingRuntime
metadata: {name: ovms}
spec: {containers: [{name: kserve-container, image: ovms-image}]}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: model}
spec:
  predictor: {model: {modelFormat: {name: onnx}, runtime: ovms, storageUri: "oci://localhost/m:1"}}
---
apiVersion: v1
kind: Namespace
metadata: {name: somewhere}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: cars.example.com}
spec: {group: example.com, scope: Namespaced, names: {plural: cars, kind: Car}, versions: []}
"""
BASE = {
    "base/web.yaml": WEB,
    "base/others.yaml": OTHERS,
    "base/serving.yaml": SERVING,
    "base/kustomization.yaml": """
resources: [web.yaml, others.yaml, serving.yaml]
configMapGenerator: [{name: settings, literals: [a=1, 'b="<x> & é"']}]
secretGenerator: [{name: keys, literals: [a=1]}]
""",
}


def over(kustomization: str, **files: str) -> dict[str, str]:
    named = {f"over/{name.replace('__', '.')}": text for name, text in files.items()}
    return {**BASE, "over/kustomization.yaml": f"resources: [../base]\n{kustomization}", **named}


CASES: dict[str, dict[str, str]] = {
    "as it is": over(""),
    "namespace": over("namespace: apps"),
    "prefix and suffix": over("{namePrefix: dev-, nameSuffix: -x}".strip("{}").replace(", ", "\n")),
    "everything": over("""
namespace: apps
namePrefix: dev-
commonLabels: {team: t}
commonAnnotations: {note: hello}
labels: [{pairs: {l: m}}]
images: [{name: ovms-image, newName: quay.io/a/b, newTag: "1"}]
replicas: [{name: web, count: 4}, {name: store, count: 0}]
"""),
    "common labels": over("commonLabels: {team: t, app: ours}"),
    "labels in selectors": over("labels: [{pairs: {a: b}, includeSelectors: true}]"),
    "labels in templates": over(
        "labels: [{pairs: {a: b}, includeTemplates: true}, {pairs: {c: d}}]"
    ),
    "annotations": over("commonAnnotations: {a: b}"),
    "a new image": over('images: [{name: ovms-image, newName: quay.io/a/b}]'),
    "a new tag": over('images: [{name: ovms-image, newTag: v9}, {name: busybox, newTag: "2"}]'),
    "a digest": over('images: [{name: ovms-image, digest: "sha256:ab"}]'),
    "tag and digest": over(
        'images: [{name: ovms-image, newName: q/r, newTag: "1", digest: "sha256:ab"}]'
    ),
    "an image of a registry with a port": over(
        'images: [{name: "registry:5000/side", newName: other}]'
    ),
    "a tag instead of a digest": over('images: [{name: "registry:5000/side", newTag: v2}]'),
    "a strategic merge": over("""
patches:
- patch: |
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 2
      template:
        spec:
          serviceAccountName: null
          containers:
          - {name: main, env: [{name: N, value: x}, {name: M, value: "2"}]}
          - {name: new, image: busybox}
          - {name: side, $patch: delete}
"""),
    "a strategic merge of a custom resource": over("""
patches:
- patch: |
    apiVersion: serving.kserve.io/v1alpha1
    kind: ServingRuntime
    metadata: {name: ovms, annotations: {a: b}}
    spec: {replicas: 2, containers: [{name: kserve-container, image: other}]}
"""),
    "a patch for all of a kind": over("""
patches:
- target: {kind: Deployment|StatefulSet, name: we.*}
  path: replicas.yaml
- target: {labelSelector: "app=web"}
  patch: |
    - {op: add, path: /metadata/labels/seen, value: "yes"}
- target: {kind: ServingRuntime, group: serving.kserve.io, version: v1alpha1}
  patch: '[{"op": "replace", "path": "/spec/containers/0/image", "value": "x:1"}]'
- target: {kind: Nothing}
  patch: '[{"op": "remove", "path": "/spec"}]'
- target: {annotationSelector: openshift.io/display-name=OVMS}
  patch: |
    apiVersion: any
    kind: any
    metadata: {name: any, annotations: {found: "true"}}
""", replicas__yaml="""
apiVersion: apps/v1
kind: Deployment
metadata: {name: whatever}
spec: {replicas: 7}
"""),
    "an object deleted by a patch": over("""
patches:
- patch: |
    $patch: delete
    apiVersion: v1
    kind: Service
    metadata: {name: web}
- target: {kind: Job}
  patch: |
    $patch: delete
    apiVersion: batch/v1
    kind: Job
    metadata: {name: x}
"""),
    "patches in the old fields": over("""
patchesStrategicMerge:
- merge.yaml
- |-
  apiVersion: v1
  kind: Service
  metadata: {name: web}
  spec: {type: NodePort}
patchesJson6902:
- target: {group: apps, version: v1, kind: Deployment, name: web}
  path: operations.yaml
""", merge__yaml="""
apiVersion: v1
kind: ServiceAccount
metadata: {name: runner, labels: {a: b}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {d: "4"}
""", operations__yaml="""
- {op: test, path: /spec/template/spec/containers/0/name, value: main}
- {op: add, path: /spec/template/spec/containers/0/args, value: [--x]}
- {op: move, from: /metadata/labels/app, path: /metadata/labels/moved}
"""),
    "a patch of what a base has renamed": {
        **BASE,
        "middle/kustomization.yaml": "resources: [../base]\nnamePrefix: mid-\nnamespace: middle\n",
        "over/kustomization.yaml": """
resources: [../middle]
nameSuffix: -end
patches:
- patch: |
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {type: NodePort}
- patch: |
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: mid-web, namespace: middle}
    spec: {replicas: 5}
configMapGenerator: [{name: settings, namespace: middle, behavior: merge, literals: [c=3]}]
""",
    },
    "a patch that renames": over("""
patches:
- target: {kind: ConfigMap, name: settings}
  options: {allowNameChange: true}
  patch: |
    - {op: replace, path: /metadata/name, value: renamed}
"""),
    "generators that merge and replace": over("""
configMapGenerator: [{name: settings, behavior: merge, literals: [a=2, c=3]}]
secretGenerator: [{name: keys, behavior: replace, literals: [z=1]}]
"""),
    "generators of every sort": over("""
generatorOptions: {labels: {made: here}, annotations: {x: "y"}}
configMapGenerator:
- name: files
  files: [app.properties, other=sub.txt]
  envs: [some.env]
- {name: plain, literals: ["url=http://x/?a=b", "empty="], options: {disableNameSuffixHash: true}}
- {name: fixed, literals: [a=b], options: {immutable: true, labels: {more: "1"}}}
- {name: none}
secretGenerator:
- {name: tls, type: kubernetes.io/tls, files: [tls.crt=sub.txt, tls.key=sub.txt]}
- {name: env, envs: [some.env]}
""", app__properties="a = b\nc=d\n", sub__txt="text\n", some__env="""
# a comment
A=1
  B= two words
C='quoted'
"""),
    "two of a name in two namespaces": {
        "one/kustomization.yaml": "namespace: one\nresources: [web.yaml]\n"
        "configMapGenerator: [{name: settings, literals: [n=1]}]\n",
        "one/web.yaml": WEB,
        "two/kustomization.yaml": "namespace: two\nresources: [web.yaml]\n"
        "configMapGenerator: [{name: settings, literals: [n=2]}]\n",
        "two/web.yaml": WEB,
        "over/kustomization.yaml": "resources: [../one, ../two]\nnamePrefix: p-\n",
    },
    "a list, JSON and an empty document": {
        "over/kustomization.yml": "resources: [list.yaml, one.json]\nnamespace: ns\n",
        "over/list.yaml": """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {x: "1"}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
---
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
""",
        "over/one.json": '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}',
    },
    "the override of the guide": {
        "over/kustomization.yaml": """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: redhat-ods-applications
resources: [inferenceservice-config.yaml]
""",
        "over/inferenceservice-config.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: inferenceservice-config, namespace: kserve}
data:
  ingress: |-
    {"disableIngressCreation": true, "ingressDomain": "edge.example.com"}
""",
    },
}  # fmt: skip
