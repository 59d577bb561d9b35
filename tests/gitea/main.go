// A Gitea for tests: the published module's own program, without what only a release adds (the web frontend).
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"code.gitea.io/gitea/cmd"
	"code.gitea.io/gitea/modules/log"
	"code.gitea.io/gitea/modules/setting"
)

const module = "code.gitea.io/gitea"

func main() {
	version, err := moduleVersion()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gitea for tests:", err)
		os.Exit(1)
	}
	setting.AppVer = version
	setting.AppStartTime = time.Now().UTC()
	err = cmd.RunMainApp(cmd.NewMainApp(cmd.AppVersion{Version: version}), os.Args...)
	// What is still queued of the log is lost without this.
	log.GetManager().Close()
	if err != nil {
		os.Exit(1)
	}
}

// moduleVersion is the version of Gitea that this program was linked with, without the leading "v", as Gitea states it.
func moduleVersion() (string, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", fmt.Errorf("built without module information; build it with scripts/build-gitea")
	}
	for _, dep := range info.Deps {
		if dep.Path == module && len(dep.Version) > 1 {
			return dep.Version[1:], nil
		}
	}
	return "", fmt.Errorf("%s is not among the modules this was built from", module)
}
