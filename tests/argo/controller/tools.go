//go:build tools

package controller

import _ "github.com/argoproj/argo-workflows/v3/cmd/workflow-controller"
