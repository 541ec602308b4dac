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
