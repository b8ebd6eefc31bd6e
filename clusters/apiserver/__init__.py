"""An embedded Kubernetes API server: store, rules and HTTP, judged by the same list as a real kube-
apiserver.
"""
