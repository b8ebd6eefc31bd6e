package e2e

import _ "k8s.io/kubernetes/test/e2e" // kept in go.mod; `go test -c` of that package is what is built
