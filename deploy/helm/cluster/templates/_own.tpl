{{/* What only this chart has, where the templates that it shares with the chart `single` ask for it. */}}

{{- define "own.store" -}}
{{- required "store.secret: the name of the Secret with the database's DSN" .Values.store.secret -}}
{{- end -}}

{{/* More keys of accounts.yaml, as JSON. The shard's name is that of its host, which is the pod's. */}}
{{- define "own.config" -}}
{{- $file := printf "/etc/orchestrator-secrets/%s/%s" (include "own.store" .) .Values.store.key -}}
{{ dict "store" (dict "dsn_file" $file) "cluster" dict | toJson }}
{{- end -}}

{{/* The names of Secrets that are mounted, as JSON. */}}
{{- define "own.secrets" -}}
{{ append .Values.secrets (include "own.store" .) | uniq | toJson }}
{{- end -}}

{{/* More tolerations, as JSON: of a node that is lost, until its pod is given up. The accounts have moved by then. */}}
{{- define "own.tolerations" -}}
{{- $found := list -}}
{{- range list "not-ready" "unreachable" -}}
{{- $found = append $found (dict "key" (printf "node.kubernetes.io/%s" .) "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" (int $.Values.unreachableSeconds)) -}}
{{- end -}}
{{ toJson $found }}
{{- end -}}

{{/* More keys of the pod. */}}
{{- define "own.pod" -}}
{{- if .Values.page.tokens.secret }}
# A copy for each start of the pod: the service notes in it when a token was used.
initContainers:
  - name: tokens
    image: {{ include "orchestrator.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: [sh, -c, "umask 077 && mkdir -p $1 && install -m 0600 /etc/orchestrator-tokens/tokens.json $1", sh, /var/lib/orchestrator/state/tokens]
    securityContext:
      {{- include "orchestrator.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - name: state
        mountPath: /var/lib/orchestrator
      - name: tokens
        mountPath: /etc/orchestrator-tokens
        readOnly: true
{{- end }}
# A node that is lost takes one shard along, and a zone its part of them.
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: {{ ternary "DoNotSchedule" "ScheduleAnyway" .Values.spread.required }}
    labelSelector:
      matchLabels:
        {{- include "orchestrator.selector" . | nindent 8 }}
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "orchestrator.selector" . | nindent 8 }}
{{- end -}}

{{/* The volume `state`: what a shard may lose. All that must stay is in the database. */}}
{{- define "own.volumes" -}}
- name: state
  emptyDir:
    sizeLimit: {{ quote .Values.stateSize }}
{{- with .Values.page.tokens.secret }}
- name: tokens
  secret:
    secretName: {{ . }}
    defaultMode: 0400
    items:
      - key: {{ quote $.Values.page.tokens.key }}
        path: tokens.json
{{- end }}
{{- end -}}

{{/* More rules of the NetworkPolicy's egress: the database. */}}
{{- define "own.egress" -}}
{{- if not .Values.store.to -}}{{- fail "store.to: where the database is, as entries of a NetworkPolicy's `to`" -}}{{- end -}}
- to:
    {{- toYaml .Values.store.to | nindent 4 }}
  ports:
    - port: {{ .Values.store.port }}
      protocol: TCP
{{- end -}}

{{/* More of the Service of the page: each shard has log-ins of its own. */}}
{{- define "own.service" -}}
sessionAffinity: ClientIP
{{- end -}}

{{/* What a ServiceMonitor needs here. */}}
{{- define "own.monitor" -}}
{{- if not .Values.page.tokens.secret -}}{{- fail "serviceMonitor.enabled needs page.tokens.secret: a token of one pod is not valid in another pod" -}}{{- end -}}
{{- end -}}
