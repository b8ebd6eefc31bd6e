"""The embedded cluster: nodes, pods and places as network namespaces of one machine process."""
