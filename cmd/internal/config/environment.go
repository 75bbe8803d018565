package config

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// envPrefix begins the variables of RabbitMQ and of its Docker image.
const envPrefix = "RABBITMQ_"

// variable says what becomes of one of them.
type variable struct {
	do   func(l *loader, value string, at Origin) error // Nil if it does nothing.
	fate Fate                                           // Without do: Idle or Missing.
	text string                                         // Why, or what instead.
}

// flagVar is a variable that is a flag's value.
func flagVar(flag string) variable {
	return variable{do: func(l *loader, value string, at Origin) error { return l.assign(flag, value, at) }}
}

func idleVar(text string) variable    { return variable{fate: Idle, text: text} }
func missingVar(text string) variable { return variable{fate: Missing, text: text} }

// confOnly is a variable that RabbitMQ's Docker image refuses since 3.9.
func confOnly(key string) variable {
	return variable{do: func(*loader, string, Origin) error {
		return fmt.Errorf("this variable is not honoured, as in RabbitMQ's image since 3.9: set %s in the configuration file", key)
	}}
}

// fromFile is a variable that names a file with the value.
func fromFile(flag string) variable {
	return variable{do: func(l *loader, value string, at Origin) error {
		b, err := os.ReadFile(value)
		if err != nil {
			return err
		}
		text := strings.TrimRight(string(b), "\r\n")
		if text == "" {
			return fmt.Errorf("%s is empty", value)
		}
		return l.assign(flag, text, at)
	}}
}

// underData keeps our files apart from those that RabbitMQ may have there.
func underData(l *loader, value string, at Origin) error {
	return l.assign("data-dir", filepath.Join(value, "leveret"), at)
}

// variables are RabbitMQ's, without the prefix. They are read by name, so that
// of two that set the same thing the later one here, in the alphabet, wins.
var variables = map[string]variable{
	"NODE_PORT": {do: func(l *loader, value string, at Origin) error {
		return l.part(fieldNamed("amqp-addr"), "port", value, at)
	}},
	"NODE_IP_ADDRESS": {do: func(l *loader, value string, at Origin) error {
		return l.part(fieldNamed("amqp-addr"), "ip", value, at)
	}},
	"NODENAME": {do: func(l *loader, value string, at Origin) error {
		if !strings.Contains(value, "@") {
			value += "@" + hostName()
		}
		return l.assign("node-name", value, at)
	}},
	"DEFAULT_USER":      flagVar("default-user"),
	"DEFAULT_PASS":      flagVar("default-pass"),
	"DEFAULT_VHOST":     flagVar("default-vhost"),
	"DEFAULT_USER_FILE": fromFile("default-user"),
	"DEFAULT_PASS_FILE": fromFile("default-pass"),
	"MNESIA_BASE":       {do: underData},
	"MNESIA_DIR":        {do: underData},
	"ENABLED_PLUGINS": {do: func(l *loader, value string, at Origin) error {
		return l.assign("enabled-plugins", strings.Join(strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' }), ","), at)
	}},
	"ENABLED_PLUGINS_FILE": {do: func(l *loader, value string, at Origin) error {
		b, err := os.ReadFile(value)
		if errors.Is(err, os.ErrNotExist) {
			return nil // As RabbitMQ, which has no plugins then; we have them all.
		} else if err != nil {
			return err
		}
		list, err := parsePlugins(string(b))
		if err != nil {
			return fmt.Errorf("%s: %w", value, err)
		}
		if l.assigned["enabled-plugins"] != nil { // ENABLED_PLUGINS was read before.
			return nil
		}
		return l.assign("enabled-plugins", list, at)
	}},

	"LOG_BASE": flagVar("log-dir"),
	"PID_FILE": flagVar("pid-file"),
	"LOGS": {do: func(l *loader, value string, at Origin) error {
		to := map[string]string{"-": "stdout", "-stdout": "stdout", "-stderr": "stderr"}[value]
		if to == "" {
			return l.assign("log-file", value, at)
		}
		return errors.Join(l.assign("log-console", to, at), l.assign("log-file", "none", at))
	}},
	// As debug, or connection=debug,queue=warning,+color.
	"LOG": {do: func(l *loader, value string, at Origin) error {
		var levels []string
		for _, part := range splitList(value) {
			category, level, isCategory := strings.Cut(part, "=")
			if !isCategory {
				level = part
			}
			if part[0] == '+' || part[0] == '-' {
				continue // Colours and the form in JSON, which we have settings for.
			}
			level, err := translations["level"](level)
			if err != nil {
				return err
			}
			if isCategory {
				levels = append(levels, category+"="+level)
			} else if err := errors.Join(l.assign("log-level", level, at), l.assign("log-file-level", level, at)); err != nil {
				return err
			}
		}
		if levels == nil {
			return nil
		}
		return l.assign("log-levels", strings.Join(levels, ","), at)
	}},

	"CONFIG_FILE":          {}, // Read before everything else.
	"CONFIG_FILES":         {},
	"ADVANCED_CONFIG_FILE": {},
	"CONF_ENV_FILE":        missingVar("rabbitmq-env.conf is not read; set the variables in it in the environment"),

	"DIST_PORT":                    idleVar(oneNode),
	"DIST_BUFFER_SIZE":             idleVar(oneNode),
	"DISTRIBUTION_BUFFER_SIZE":     idleVar(oneNode),
	"ERLANG_COOKIE":                idleVar(oneNode),
	"USE_LONGNAME":                 idleVar("the node's name is just a label; RABBITMQ_NODENAME gives one"),
	"ALLOW_INPUT":                  idleVar(otherEngine),
	"CTL_ERL_ARGS":                 idleVar(otherEngine),
	"CTL_DIST_PORT_MIN":            idleVar(oneNode),
	"CTL_DIST_PORT_MAX":            idleVar(oneNode),
	"DATA_DIR":                     idleVar("--data-dir or LEVERET_DATA_DIR says where data is"),
	"DEFAULT_USER_PERMISSIONS":     missingVar("write default_permissions.configure, .write and .read in the configuration file"),
	"DOLLAR_HOME":                  idleVar(otherEngine),
	"ENABLED_PLUGINS_DIR":          idleVar(otherEngine),
	"FEATURE_FLAGS":                idleVar("all features are on"),
	"FEATURE_FLAGS_FILE":           idleVar("all features are on"),
	"FORCED_FEATURE_FLAGS_ON_INIT": idleVar("all features are on"),
	"GENERATED_CONFIG_DIR":         idleVar(otherEngine),
	"HIPE_COMPILE":                 idleVar(otherEngine),
	"HOME":                         idleVar(otherEngine),
	"IO_THREAD_POOL_SIZE":          idleVar(otherEngine),
	"KEEP_PID_FILE_ON_EXIT":        idleVar("the file of --pid-file is removed at the end"),
	"MAX_NUMBER_OF_ATOMS":          idleVar(otherEngine),
	"MAX_NUMBER_OF_PROCESSES":      idleVar(otherEngine),
	"MOTD_FILE":                    idleVar("nothing is printed besides the log"),
	"PGP_KEY_ID":                   idleVar(otherEngine),
	"PLUGINS_DIR":                  idleVar("plugins are built in"),
	"PLUGINS_EXPAND_DIR":           idleVar("plugins are built in"),
	"PRODUCT_NAME":                 idleVar("the product is Leveret"),
	"PRODUCT_VERSION":              idleVar("the product is Leveret"),
	"QUORUM_DIR":                   idleVar("all data is in the data directory"),
	"STREAM_DIR":                   idleVar("all data is in the data directory"),
	"SCHEMA_DIR":                   idleVar(otherEngine),
	"SERVER_ADDITIONAL_ERL_ARGS":   idleVar(otherEngine),
	"SERVER_CODE_PATH":             idleVar(otherEngine),
	"SERVER_ERL_ARGS":              idleVar(otherEngine),
	"SERVER_START_ARGS":            idleVar(otherEngine),
	"SERVICENAME":                  idleVar("systemd names its units"),
	"SYSCONFDIR":                   idleVar(otherEngine),
	"VERSION":                      idleVar("RabbitMQ's image says its version in it"),

	"SSL_CACERTFILE":                      confOnly("ssl_options.cacertfile"),
	"SSL_CERTFILE":                        confOnly("ssl_options.certfile"),
	"SSL_KEYFILE":                         confOnly("ssl_options.keyfile"),
	"SSL_DEPTH":                           confOnly("ssl_options.depth"),
	"SSL_FAIL_IF_NO_PEER_CERT":            confOnly("ssl_options.fail_if_no_peer_cert"),
	"SSL_VERIFY":                          confOnly("ssl_options.verify"),
	"VM_MEMORY_HIGH_WATERMARK":            confOnly("vm_memory_high_watermark.relative or .absolute"),
	"MANAGEMENT_SSL_CACERTFILE":           confOnly("management.ssl.cacertfile"),
	"MANAGEMENT_SSL_CERTFILE":             confOnly("management.ssl.certfile"),
	"MANAGEMENT_SSL_KEYFILE":              confOnly("management.ssl.keyfile"),
	"MANAGEMENT_SSL_DEPTH":                confOnly("management.ssl.depth"),
	"MANAGEMENT_SSL_FAIL_IF_NO_PEER_CERT": confOnly("management.ssl.fail_if_no_peer_cert"),
	"MANAGEMENT_SSL_VERIFY":               confOnly("management.ssl.verify"),
}

// linked matches what Docker's links and Kubernetes set for a service called
// rabbitmq or leveret; none of that is configuration.
var linked = regexp.MustCompile(`^(ENV_|NAME$|SERVICE_HOST$|SERVICE_PORT(_|$)|PORT$|PORT_[0-9]+_(TCP|UDP))`)

// environment applies RABBITMQ_ variables, which beat files.
func (l *loader) environment() {
	have := map[string]string{}
	for _, e := range l.environ {
		name, value, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, "LEVERET_") {
			have[name] = value
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		value := have[name]
		short, isRabbit := strings.CutPrefix(name, envPrefix)
		if !isRabbit {
			l.oddVariable(name, strings.TrimPrefix(name, "LEVERET_"), ownVariables())
			continue
		}
		v, known := variables[short]
		at := Origin{FromEnvironment, name, ""}
		switch {
		case !known:
			l.oddVariable(name, short, rabbitVariables())
		case v.do != nil && value != "": // RabbitMQ takes empty for absent.
			if err := v.do(l, value, at); err != nil {
				l.refuse(name, err)
			}
		case v.fate == Idle && value != "":
			l.report.Idle = append(l.report.Idle, Note{Problem{name, v.text}, name})
		case v.fate == Missing && value != "":
			l.report.Missing = append(l.report.Missing, Note{Problem{name, v.text}, name})
		}
	}
}

// oddVariable notes a variable that is no setting but nearly has the name of
// one. Others are left alone: programs that use a broker have such variables
// of their own, RABBITMQ_URL for instance.
func (l *loader) oddVariable(name, short string, known iter.Seq[string]) {
	if linked.MatchString(short) {
		return
	}
	near := ""
	for k := range known {
		if k == name {
			return
		}
		if len(name) > 14 && distance(name, k, 3) < 3 {
			near = k
		}
	}
	if near != "" {
		l.report.Unknown = append(l.report.Unknown, Problem{name, "is no setting; did you mean " + near + "?"})
	}
}

func rabbitVariables() iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range variables {
			if !yield(envPrefix + name) {
				return
			}
		}
	}
}

// ownVariables yields those of the broker and of leveret ctl.
func ownVariables() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, name := range []string{"LEVERET_URL", "LEVERET_USER", "LEVERET_PASSWORD"} {
			if !yield(name) {
				return
			}
		}
		for _, f := range fields() {
			if f.env != "" && !yield(f.env) {
				return
			}
		}
	}
}

// hostName is the first word of this machine's name.
func hostName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	host, _, _ = strings.Cut(host, ".")
	return host
}
