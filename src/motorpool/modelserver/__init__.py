"""The data plane: OpenVINO models over the Open Inference Protocol, as OpenVINO Model Server.

Ships and runs alone; has never heard of Kubernetes. From bytes to bytes a request goes through
`http` (status codes live there alone), `protocols` (bytes <-> values, pure), `tensors` (is this
what the model takes? pure), `model` (which version, is it loaded), `workers` (a place in the queue)
and `engine` (OpenVINO).
"""
