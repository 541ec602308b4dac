{{/* What only this chart has, where the templates that it shares with the chart `cluster` ask for it. */}}

{{/* More keys of accounts.yaml, as JSON. */}}
{{- define "own.config" -}}{}{{- end -}}

{{/* The names of Secrets that are mounted, as JSON. */}}
{{- define "own.secrets" -}}{{ toJson .Values.secrets }}{{- end -}}

{{/* More tolerations, as JSON. */}}
{{- define "own.tolerations" -}}[]{{- end -}}

{{/* More keys of the pod. */}}
{{- define "own.pod" -}}{{- end -}}

{{/* The volume `state`, unless the StatefulSet has a claim for it. */}}
{{- define "own.volumes" -}}
{{- with .Values.persistence.existingClaim -}}
- name: state
  persistentVolumeClaim:
    claimName: {{ quote . }}
{{- end -}}
{{- end -}}

{{/* More rules of the NetworkPolicy's egress. */}}
{{- define "own.egress" -}}{{- end -}}

{{/* More of the Service of the page. */}}
{{- define "own.service" -}}{{- end -}}

{{/* What a ServiceMonitor needs here. */}}
{{- define "own.monitor" -}}{{- end -}}
