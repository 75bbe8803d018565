package mgmt

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"leveret/adapters/mgmt/console"
)

// handler answers one method of one resource.
type handler func(c *call) error

// methods are what a resource understands.
type methods struct {
	get, put, post, delete handler
	// write is what everything but get needs, if that is more than the
	// resource itself asks for.
	write right
}

// resource is a URL pattern below /api with who may use it.
type resource struct {
	path string
	need right
	methods
}

// resources is the API. Patterns name path segments, decoded once, which
// handlers read with call.param.
func (s *Server) resources() []resource {
	return []resource{
		{"/overview", management, methods{get: (*call).getOverview}},
		{"/config/effective", administrator, methods{get: (*call).getConfig}},
		{"/whoami", management, methods{get: (*call).getWhoami}},
		{"/version", noLogin, methods{get: (*call).getVersion}},
		{"/auth", noLogin, methods{get: (*call).getAuth}},
		{"/auth/hash_password/{password}", administrator, methods{get: (*call).hashPassword}},
		{"/auth/explain", administrator, methods{post: (*call).explainAccess}},
		{"/auth/attempts/{node}", monitoring, methods{get: (*call).listAttempts, delete: (*call).resetAttempts, write: administrator}},
		{"/auth/attempts/{node}/source", monitoring, methods{get: (*call).listAttemptSources, delete: (*call).resetAttemptSources, write: administrator}},
		{"/login", noLogin, methods{post: (*call).postLogin}},
		{"/cluster-name", management, methods{get: (*call).getClusterName, put: (*call).putClusterName, write: administrator}},
		{"/live", management, methods{get: (*call).live}},
		{"/extensions", management, methods{get: (*call).getNothing}},
		{"/nodes", monitoring, methods{get: (*call).getNodes}},
		{"/nodes/{node}", monitoring, methods{get: (*call).getNode}},
		{"/nodes/{node}/state", administrator, methods{put: (*call).putNodeState}},
		{"/nodes/{node}/reset", administrator, methods{post: (*call).resetNode}},
		{"/nodes/{node}/memory", monitoring, methods{get: (*call).getNodeMemory}},
		{"/nodes/{node}/memory/relative", monitoring, methods{get: (*call).getNodeMemoryRelative}},
		{"/reset", administrator, methods{delete: (*call).resetStatistics}},
		{"/reset/{node}", administrator, methods{delete: (*call).resetStatistics}},
		{"/feature-flags", management, methods{get: (*call).listFeatures}},
		{"/feature-flags/{feature}/enable", administrator, methods{put: (*call).enableFeature}},
		{"/deprecated-features", management, methods{get: (*call).getNothing}},
		{"/deprecated-features/used", management, methods{get: (*call).getNothing}},

		{"/audit", monitoring, methods{get: (*call).listAudit}},

		{"/vhosts", management, methods{get: (*call).listVHosts}},
		{"/vhosts/{name}", administrator, methods{get: (*call).getVHost, put: (*call).putVHost, delete: (*call).deleteVHost}},
		{"/vhosts/{name}/permissions", administrator, methods{get: (*call).listVHostPermissions}},
		{"/vhosts/{name}/topic-permissions", administrator, methods{get: (*call).listVHostTopicPermissions}},
		{"/vhosts/{name}/deletion/protection", administrator, methods{post: (*call).protectVHost, delete: (*call).unprotectVHost}},
		{"/vhosts/{name}/start/{node}", administrator, methods{post: (*call).startVHost}},
		{"/vhosts/{vhost}/connections", inVHost, methods{get: (*call).listConnections}},
		{"/vhosts/{vhost}/channels", inVHost, methods{get: (*call).listChannels}},

		{"/users", administrator, methods{get: (*call).listUsers}},
		{"/users/without-permissions", administrator, methods{get: (*call).listUsersWithoutPermissions}},
		{"/users/bulk-delete", administrator, methods{post: (*call).bulkDeleteUsers}},
		{"/users/{user}", administrator, methods{get: (*call).getUser, put: (*call).putUser, delete: (*call).deleteUser}},
		{"/users/{user}/permissions", administrator, methods{get: (*call).listUserPermissions}},
		{"/users/{user}/queues", administrator, methods{get: (*call).listUserQueues}},
		{"/users/{user}/topic-permissions", administrator, methods{get: (*call).listUserTopicPermissions}},
		{"/permissions", administrator, methods{get: (*call).listPermissions}},
		{"/permissions/{perm-vhost}/{user}", administrator, methods{get: (*call).getPermission, put: (*call).putPermission, delete: (*call).deletePermission}},
		{"/topic-permissions", administrator, methods{get: (*call).listTopicPermissions}},
		{"/topic-permissions/{perm-vhost}/{user}", administrator, methods{get: (*call).getTopicPermissions, put: (*call).putTopicPermission, delete: (*call).deleteTopicPermissions}},
		{"/topic-permissions/{perm-vhost}/{user}/{exchange}", administrator, methods{get: (*call).getTopicPermission, delete: (*call).deleteTopicPermission}},
		{"/vhost-limits", management, methods{get: (*call).listVHostLimits}},
		{"/vhost-limits/{vhost}", inVHost, methods{get: (*call).listVHostLimits}},
		{"/vhost-limits/{vhost}/{limit}", administrator, methods{put: (*call).putVHostLimit, delete: (*call).deleteVHostLimit}},
		{"/user-limits", administrator, methods{get: (*call).listUserLimits}},
		{"/user-limits/{user}", administrator, methods{get: (*call).listUserLimits}},
		{"/user-limits/{user}/{limit}", administrator, methods{put: (*call).putUserLimit, delete: (*call).deleteUserLimit}},

		{"/queues", management, methods{get: (*call).listQueues}},
		{"/queues/detailed", management, methods{get: (*call).listQueues}},
		{"/queues/{vhost}", inVHost, methods{get: (*call).listQueues}},
		{"/queues/{vhost}/{queue}", inVHost, methods{get: (*call).getQueue, put: (*call).putQueue, delete: (*call).deleteQueue}},
		{"/queues/{vhost}/{queue}/contents", inVHost, methods{delete: (*call).purgeQueue}},
		{"/queues/{vhost}/{queue}/get", inVHost, methods{post: (*call).getMessages}},
		{"/queues/{vhost}/{queue}/messages", inVHost, methods{get: (*call).peekMessages}},
		{"/queues/{vhost}/{queue}/tail", inVHost, methods{get: (*call).tailQueue}},
		{"/queues/{vhost}/{queue}/move", inVHost, methods{post: (*call).moveMessages}},
		{"/moves", management, methods{get: (*call).listMoves}},
		{"/moves/{id}", management, methods{get: (*call).getMove, delete: (*call).cancelMove}},
		{"/queues/{vhost}/{queue}/actions", administrator, methods{post: (*call).queueAction}},
		{"/queues/{vhost}/{queue}/bindings", inVHost, methods{get: (*call).listQueueBindings}},
		{"/queues/quorum/{vhost}/{queue}/status", inVHost, methods{get: (*call).getQuorumStatus}},
		{"/queues/quorum/{vhost}/{queue}/replicas/{act}", administrator, methods{post: (*call).changeReplicas, delete: (*call).changeReplicas}},
		{"/exchanges", management, methods{get: (*call).listExchanges}},
		{"/exchanges/{vhost}", inVHost, methods{get: (*call).listExchanges}},
		{"/exchanges/{vhost}/{exchange}", inVHost, methods{get: (*call).getExchange, put: (*call).putExchange, delete: (*call).deleteExchange}},
		{"/exchanges/{vhost}/{exchange}/tail", inVHost, methods{get: (*call).tailExchange}},
		{"/exchanges/{vhost}/{exchange}/publish", inVHost, methods{post: (*call).publish}},
		{"/exchanges/{vhost}/{exchange}/route", inVHost, methods{post: (*call).routeMessage}},
		{"/exchanges/{vhost}/{exchange}/delayed", inVHost, methods{get: (*call).listDelayed}},
		{"/exchanges/{vhost}/{exchange}/delayed/{id}", inVHost, methods{put: (*call).retimeDelayed, delete: (*call).cancelDelayed}},
		{"/exchanges/{vhost}/{exchange}/bindings/source", inVHost, methods{get: (*call).listBindingsFrom}},
		{"/exchanges/{vhost}/{exchange}/bindings/destination", inVHost, methods{get: (*call).listBindingsTo}},
		{"/bindings", management, methods{get: (*call).listBindings}},
		{"/bindings/{vhost}", inVHost, methods{get: (*call).listBindings}},
		{"/bindings/{vhost}/e/{source}/{kind}/{destination}", inVHost, methods{get: (*call).listBindingsBetween, post: (*call).postBinding}},
		{"/bindings/{vhost}/e/{source}/{kind}/{destination}/{props}", inVHost, methods{get: (*call).getBinding, delete: (*call).deleteBinding}},

		{"/connections", management, methods{get: (*call).listConnections}},
		{"/connections/username/{user}", management, methods{get: (*call).listUserConnections, delete: (*call).deleteUserConnections}},
		{"/connections/{connection}", management, methods{get: (*call).getConnection, delete: (*call).deleteConnection}},
		{"/connections/{connection}/channels", management, methods{get: (*call).listConnectionChannels}},
		{"/channels", management, methods{get: (*call).listChannels}},
		{"/channels/{channel}", management, methods{get: (*call).getChannel}},
		{"/sessions", management, methods{get: (*call).listSessions}},
		{"/sessions/{vhost}", inVHost, methods{get: (*call).listSessions}},
		{"/sessions/{vhost}/{client}", inVHost, methods{get: (*call).getSession, delete: (*call).deleteSession}},
		{"/retained/{vhost}", inVHost, methods{get: (*call).listRetained}},
		{"/retained/{vhost}/message", inVHost, methods{get: (*call).getRetained, delete: (*call).deleteRetained}},
		{"/consumers", management, methods{get: (*call).listConsumers}},
		{"/consumers/{vhost}", inVHost, methods{get: (*call).listConsumers}},

		{"/definitions", administrator, methods{get: (*call).getDefinitions, post: (*call).postDefinitions}},
		{"/definitions/plan", administrator, methods{post: (*call).planDefinitions}},
		{"/definitions/apply", administrator, methods{post: (*call).applyDefinitions}},
		{"/definitions/{vhost}", administrator, methods{get: (*call).getDefinitions, post: (*call).postDefinitions}},
		{"/all-configuration", administrator, methods{get: (*call).getDefinitions, post: (*call).postDefinitions}},

		{"/policies", management, methods{get: (*call).listPolicies}},
		{"/policies/{vhost}", inVHost, methods{get: (*call).listPolicies}},
		{"/policies/{vhost}/{name}", policymaker, methods{get: (*call).getPolicy, put: (*call).putPolicy, delete: (*call).deletePolicy}},
		{"/operator-policies", management, methods{get: (*call).listOperatorPolicies}},
		{"/operator-policies/{vhost}", inVHost, methods{get: (*call).listOperatorPolicies}},
		{"/operator-policies/{vhost}/{name}", policymaker, methods{
			get: (*call).getOperatorPolicy, put: (*call).putOperatorPolicy, delete: (*call).deleteOperatorPolicy, write: administrator,
		}},
		{"/shovels", monitoring, methods{get: (*call).listShovels}},
		{"/shovels/{vhost}", monitoring, methods{get: (*call).listShovels}},
		{"/shovels/{vhost}/{name}", monitoring, methods{get: (*call).getShovel, delete: (*call).deleteShovel}},
		{"/shovels/vhost/{vhost}/{name}", monitoring, methods{get: (*call).getShovel, delete: (*call).deleteShovel}},
		{"/shovels/vhost/{vhost}/{name}/restart", monitoring, methods{delete: (*call).restartShovel}},
		{"/federation-links", management, methods{get: (*call).getNothing}},
		{"/federation-links/{vhost}", inVHost, methods{get: (*call).getNothing}},
		{"/traces", management, methods{get: (*call).getNothing}},
		{"/traces/{vhost}", inVHost, methods{get: (*call).getNothing}},
		{"/trace-files", administrator, methods{get: (*call).getNothing}},
		{"/parameters", policymaker, methods{get: (*call).listParameters}},
		{"/parameters/{component}", policymaker, methods{get: (*call).listParameters}},
		{"/parameters/{component}/{vhost}", policymaker, methods{get: (*call).listParameters}},
		{"/parameters/{component}/{vhost}/{name}", policymaker, methods{get: (*call).getParameter, put: (*call).putParameter, delete: (*call).deleteParameter}},
		{"/global-parameters", policymaker, methods{get: (*call).listGlobalParameters}},
		{"/global-parameters/{name}", policymaker, methods{get: (*call).getGlobalParameter, put: (*call).putGlobalParameter, delete: (*call).deleteGlobalParameter}},

		{"/alarms", management, methods{get: (*call).listAlarms}},
		{"/alarms/{resource}/limit", administrator, methods{put: (*call).putAlarmLimit}},
		{"/aliveness-test/{vhost}", inVHost, methods{get: (*call).aliveness}},
		{"/healthchecks/node", management, methods{get: (*call).healthy}},
		{"/healthchecks/node/{node}", management, methods{get: (*call).healthy}},
		{"/health/checks/alarms", management, methods{get: (*call).checkAlarms}},
		{"/health/checks/local-alarms", management, methods{get: (*call).checkLocalAlarms}},
		{"/health/checks/virtual-hosts", management, methods{get: (*call).healthy}},
		{"/health/checks/node-is-quorum-critical", management, methods{get: (*call).singleNode}},
		{"/health/checks/node-is-mirror-sync-critical", management, methods{get: (*call).singleNode}},
		{"/health/checks/port-listener/{port}", management, methods{get: (*call).checkPort}},
		{"/health/checks/protocol-listener/{protocol}", management, methods{get: (*call).checkProtocol}},
		{"/health/checks/certificate-expiration/{within}/{unit}", management, methods{get: (*call).checkCertificates}},
		{"/health/checks/below-node-connection-limit", noLogin, methods{get: (*call).checkConnectionLimit}},
		{"/health/checks/reached-target-cluster-size", noLogin, methods{get: (*call).healthy}},
		{"/health/checks/metadata-store/initialized", management, methods{get: (*call).healthy}},
		{"/health/checks/metadata-store/initialized/with-data", management, methods{get: (*call).healthy}},
		{"/health/checks/quorum-queues-without-elected-leaders/all-vhosts", management, methods{get: (*call).healthy}},
		{"/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}", management, methods{get: (*call).healthy}},
		{"/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}", inVHost, methods{get: (*call).healthy}},
		{"/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}", inVHost, methods{get: (*call).healthy}},
		{"/health/checks/is-in-service", noLogin, methods{get: (*call).checkInService}},
		{"/health/checks/ready-to-serve-clients", noLogin, methods{get: (*call).checkReady}},
		{"/backup", administrator, methods{post: (*call).postBackup}},
		{"/rebalance/queues", administrator, methods{post: (*call).nothingToDo}},
	}
}

// table lists the methods of m in the order RabbitMQ's Allow header has them.
func (m *methods) table() ([]string, map[string]handler) {
	allow := []string{}
	byName := map[string]handler{}
	add := func(name string, h handler) {
		if h != nil {
			allow = append(allow, name)
			byName[name] = h
		}
	}
	add(http.MethodHead, m.get)
	add(http.MethodGet, m.get)
	add(http.MethodPost, m.post)
	add(http.MethodPut, m.put)
	add(http.MethodDelete, m.delete)
	return append(allow, http.MethodOptions), byName
}

// routes builds the router.
func (s *Server) routes() http.Handler {
	root := chi.NewRouter()
	root.Use(rawPath, middleware.Compress(5, "application/json"))
	root.NotFound(s.notFound)
	for _, path := range console.Paths() {
		root.Handle(path, console.Handler())
	}
	root.Handle("/api", http.RedirectHandler(s.opts.Web.prefix()+"/api/index.html", http.StatusMovedPermanently))
	root.Handle("/api/index.html", http.HandlerFunc(s.welcome))
	for _, r := range s.resources() {
		root.Handle("/api"+r.path, s.serve(r))
	}
	return under(s.opts.Web.prefix(), root, http.HandlerFunc(s.notFound))
}

// rawPath makes chi match on the path as it was sent: a virtual host "%2F" is
// one segment. One slash at the end does not count, as in RabbitMQ; the two of
// "/exchanges/%2F//publish" stand around the default exchange's empty name.
func rawPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw := r.URL.EscapedPath()
		if len(raw) > 1 {
			raw = strings.TrimSuffix(raw, "/")
		}
		r.URL.RawPath = raw
		next.ServeHTTP(w, r)
	})
}

// serve answers for r: method, then login, then right, then what is accepted,
// then the handler; the order decides which refusal a client sees.
func (s *Server) serve(r resource) http.HandlerFunc {
	allow, byName := r.methods.table()
	return func(w http.ResponseWriter, req *http.Request) {
		c := s.newCall(w, req)
		defer c.survive()
		h := w.Header()
		h.Set("Cache-Control", "no-cache")
		h.Set("Vary", "accept, accept-encoding, origin")
		h.Set("Content-Security-Policy", "script-src 'self'; object-src 'self'")
		if !slices.Contains(allow, req.Method) {
			h.Set("Allow", strings.Join(allow, ", "))
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		if c.cors(allow) {
			return
		}
		if req.Method == http.MethodOptions {
			h.Set("Allow", strings.Join(allow, ", "))
			w.WriteHeader(http.StatusOK)
			return
		}
		defer c.audited(r.path)()
		need := r.need
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			need = max(need, r.write)
		}
		if c.look != nil && !c.look.admit(c, need) || c.look == nil && !c.admit(need) {
			return
		}
		defer c.untilExpired()()
		if !acceptsJSON(req.Header.Values("Accept")) {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		var err error
		if c.spans, err = parseSpans(req.URL.Query()); err == nil {
			err = byName[req.Method](c)
		}
		if err != nil {
			c.fail(err)
		}
	}
}

// acceptsJSON reports whether an Accept header lets us answer in JSON.
func acceptsJSON(values []string) bool {
	if len(values) == 0 {
		return true
	}
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			kind, _, _ := strings.Cut(part, ";")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "", "*/*", "application/*", "application/json", "application/bigint+json", "text/event-stream":
				return true
			}
		}
	}
	return false
}

// notFound answers what no pattern matches.
func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	s.newCall(w, r).fail(errNotFound)
}
