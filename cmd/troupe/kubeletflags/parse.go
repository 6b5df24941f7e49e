package kubeletflags

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/troupe-dev/troupe/cmd/troupe/featuregates"
	"github.com/troupe-dev/troupe/cmd/troupe/kubeletconfig"
	"github.com/troupe-dev/troupe/cmd/troupe/suggest"
)

// Result is a parsed command line. When Help, HelpAll or Version is set, the
// rest is not filled in.
type Result struct {
	Options kubeletconfig.Options
	// Help asks for the short help, HelpAll for every flag.
	Help, HelpAll bool
	// Version is "" unless asked for: "true" for one line, "raw" for all facts.
	Version string
}

// commandLine is one set of flags, bound to one configuration.
type commandLine struct {
	flags   *kubeletconfig.Flags
	config  *kubeletconfig.Configuration
	sets    cliflag.NamedFlagSets
	all     *pflag.FlagSet
	help    bool
	helpAll bool
	version string
}

// newCommandLine binds every flag to config, which must have its defaults.
func newCommandLine(config *kubeletconfig.Configuration) *commandLine {
	l := &commandLine{flags: kubeletconfig.NewFlags(), config: config}
	l.sets.NormalizeNameFunc = cliflag.WordSepNormalizeFunc
	register(&l.sets, l.flags, config)
	fs := l.sets.FlagSet(groupStart)
	fs.BoolVarP(&l.help, "help", "h", false, "show the most used flags")
	fs.BoolVar(&l.helpAll, "help-all", false, "show every flag")
	fs.StringVar(&l.version, "version", "", "show the version and end; =raw shows all about it")
	fs.Lookup("version").NoOptDefVal = "true"

	l.all = pflag.NewFlagSet("node", pflag.ContinueOnError)
	l.all.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	l.all.SetOutput(io.Discard)
	l.all.Usage = func() {}
	for _, name := range l.sets.Order {
		l.all.AddFlagSet(l.sets.FlagSets[name])
	}
	return l
}

// FlagSet returns every flag, for completion. Parsing it has no effect.
func FlagSet() *pflag.FlagSet { return newCommandLine(kubeletconfig.NewLegacyDefault()).all }

// Parse turns a command line into complete and valid options: defaults, then
// --config, then --config-dir, then flags. Every problem is in the error.
func Parse(args []string, host kubeletconfig.Host) (Result, error) {
	line := newCommandLine(kubeletconfig.NewLegacyDefault())
	if err := line.parse(args); err != nil {
		return Result{}, err
	}
	if line.help || line.helpAll || line.version != "" {
		return Result{Help: line.help && !line.helpAll, HelpAll: line.helpAll, Version: line.version}, nil
	}
	o := kubeletconfig.Options{Config: line.config, Flags: *line.flags, SetFlags: line.given()}
	legacy := line.flags.Config == ""
	if line.flags.Config != "" || line.flags.ConfigDir != "" {
		config, skipped, err := load(line)
		if err != nil {
			return Result{}, err
		}
		if o.Config, err = overlay(config, args); err != nil {
			return Result{}, err
		}
		o.SkippedDropIns = skipped
	}
	gates, gateWarnings, err := featuregates.Resolve(o.Config.FeatureGates)
	if err != nil {
		return Result{}, err
	}
	o.Gates = gates
	if err := errors.Join(kubeletconfig.ValidateFlags(&o.Flags), kubeletconfig.Validate(o.Config, gates, host)); err != nil {
		return Result{}, err
	}
	configWarnings, err := kubeletconfig.Warnings(o.Config, legacy)
	if err != nil {
		return Result{}, err
	}
	o.Warnings = slices.Concat(flagWarnings(o.SetFlags), gateWarnings, configWarnings)
	return Result{Options: o}, nil
}

// load reads the file and the drop-ins that the flags name.
func load(line *commandLine) (*kubeletconfig.Configuration, []string, error) {
	config := kubeletconfig.NewLegacyDefault()
	if line.flags.Config != "" {
		var err error
		if config, err = kubeletconfig.LoadFile(line.flags.Config); err != nil {
			return nil, nil, err
		}
	}
	if line.flags.ConfigDir == "" {
		return config, nil, nil
	}
	return kubeletconfig.MergeDropIns(config, line.flags.ConfigDir)
}

// overlay parses the flags a second time, over what the files said. Gates of
// the files stay unless a flag names them too.
func overlay(config *kubeletconfig.Configuration, args []string) (*kubeletconfig.Configuration, error) {
	fromFiles := maps.Clone(config.FeatureGates)
	line := newCommandLine(config)
	if err := line.parse(args); err != nil {
		return nil, err
	}
	for name, value := range fromFiles {
		if _, set := config.FeatureGates[name]; !set {
			if config.FeatureGates == nil {
				config.FeatureGates = map[string]bool{}
			}
			config.FeatureGates[name] = value
		}
	}
	return config, nil
}

func (l *commandLine) parse(args []string) error {
	err := l.all.Parse(args)
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("unknown flag --%s%s", unknown.GetSpecifiedName(), l.near(unknown.GetSpecifiedName()))
	case err != nil:
		return err
	}
	if rest := l.all.Args(); len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q: the agent takes flags only", rest[0])
	}
	if l.version != "" && l.version != "true" && l.version != "raw" && l.version != "false" {
		return fmt.Errorf("--version=%s: only raw is accepted as a value; the version is fixed when Troupe is built", l.version)
	}
	if l.version == "false" {
		l.version = ""
	}
	return nil
}

// near suggests what an unknown name was meant to be: a flag, or a field of
// the configuration file.
func (l *commandLine) near(name string) string {
	for flag, field := range kubeletconfig.FlagFields() {
		if strings.EqualFold(field, name) {
			return fmt.Sprintf("; %s is a configuration field, its flag is --%s", field, flag)
		}
	}
	if fields := kubeletconfig.TopLevelFields(); slices.Contains(fields, name) {
		return "; it is a configuration field without a flag: set it in the file of --config"
	}
	var names []string
	l.all.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near := suggest.Nearest(name, names); near != "" {
		return fmt.Sprintf("; did you mean --%s?", near)
	}
	return "; --help-all lists every flag"
}

// given returns the flags on the command line.
func (l *commandLine) given() map[string]string {
	out := map[string]string{}
	l.all.Visit(func(f *pflag.Flag) { out[f.Name] = f.Value.String() })
	return out
}

// notYet are flags without a configuration field that nothing acts on yet.
func notYet() []string {
	return []string{
		"experimental-allocatable-ignore-eviction", "image-credential-provider-bin-dir", "image-credential-provider-config",
		"maximum-dead-containers", "maximum-dead-containers-per-container", "minimum-container-ttl-duration", "runtime-cgroups",
	}
}

// quiet are flags that mirror a configuration field and are not deprecated
// (same exceptions as AddKubeletConfigFlags of Kubernetes v1.36.3, and the one
// that the kubelet keeps outside its configuration flags).
func quiet() []string {
	return []string{"v", "vmodule", "log-flush-frequency", "provider-id", "fail-cgroupv1", "seccomp-default"}
}

// flagWarnings says what is special about the given flags.
func flagWarnings(given map[string]string) []string {
	var mirrored, waiting, out []string
	fields := kubeletconfig.FlagFields()
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, ok := fields[name]; ok && !slices.Contains(quiet(), name) {
			mirrored = append(mirrored, "--"+name)
		}
		if slices.Contains(notYet(), name) {
			waiting = append(waiting, "--"+name)
		}
	}
	for _, n := range noops() {
		if _, set := given[n.name]; set {
			out = append(out, fmt.Sprintf("--%s has no effect: %s", n.name, n.why))
		}
	}
	for _, n := range removed() {
		if _, set := given[n.name]; set {
			out = append(out, fmt.Sprintf("--%s is not a flag of Kubernetes 1.36 and is left out: %s", n.name, n.why))
		}
	}
	if len(waiting) > 0 {
		out = append(out, "flags that are set but not honoured yet: "+strings.Join(waiting, ", "))
	}
	if len(mirrored) > 0 {
		out = append(out, "flags that Kubernetes deprecates in favour of the file of --config: "+strings.Join(mirrored, ", "))
	}
	return out
}
