package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// venv is the virtual environment that .ci/run makes from requirements.txt.
const venv = "../../.venv"

// binary is the cordon that the tests run: the built program, with nothing swapped.
var binary string

// TestMain skips the whole suite, in one line, where its tools are not
// installed; with CORDON_CONFORMANCE=required that is a failure.
func TestMain(m *testing.M) {
	if _, err := os.Stat(tool("moto_server")); err != nil {
		if os.Getenv("CORDON_CONFORMANCE") == "required" {
			fmt.Printf("conformance: the outside tools are missing: %v\n", err)
			os.Exit(1)
		}
		// go test shows a passing package in one line, and "[no tests to run]"
		// in it where the binary has said so.
		fmt.Println("conformance: skipped, the outside tools are not installed (.ci/run installs them into .venv)")
		fmt.Println("testing: warning: no tests to run")
		os.Exit(0)
	}
	os.Exit(withBinary(m))
}

func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cordon-conformance-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "cordon")
	build := exec.Command("go", "build", "-o", binary, "../../cmd/cordon")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Println("conformance: building cordon:", err)
		return 1
	}
	defer stopMoto()
	return m.Run()
}

// tool is the path of a program in the virtual environment.
func tool(name string) string {
	path, err := filepath.Abs(filepath.Join(venv, "bin", name))
	if err != nil {
		return name
	}
	return path
}
