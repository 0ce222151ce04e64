"""Accelerators of this machine: finding them, telling of them, giving whole ones to containers.

    nvml.py sysfs.py   what is there            -> Device
    labels.py          Devices                  -> capacity, allocatable, node labels
    allocation.py      a pod and what is free   -> which container gets which device
    visibility.py      a container's devices    -> environment, device nodes, CDI names
    devices.py         keeps all of this true, and the record of who has what

Rules: a device is given whole, and to one pod at a time; who has what is written down before the
first program that uses it starts, in the pod's own directory, so that it holds for as long as the
pod does, whatever restarts. A machine without a driver is the normal case and costs nothing.
"""
