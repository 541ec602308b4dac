{{- /* Made by scripts/charts from deploy/helm/single. */ -}}
{{- define "orchestrator.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end -}}

{{/*
The name of all objects. A Service takes only letters, digits and dashes and begins with a letter, and a pod of a
StatefulSet has a label of 11 characters more. The name of a release that does not fit is cut and changed, and gets
a part that tells it from similar ones.
*/}}
{{- define "orchestrator.fullname" -}}
{{- $name := include "orchestrator.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full = default $full .Values.fullnameOverride -}}
{{- if regexMatch "^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$" $full -}}
{{- $full -}}
{{- else -}}
{{- $fit := $full | replace "." "-" | trunc 39 | trimSuffix "-" -}}
{{- printf "%s%s-%s" (ternary "r-" "" (regexMatch "^[0-9]" $fit)) $fit ($full | sha256sum | trunc 8) -}}
{{- end -}}
{{- end -}}

{{- define "orchestrator.selector" -}}
app.kubernetes.io/name: {{ include "orchestrator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "orchestrator.labels" -}}
{{ include "orchestrator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "orchestrator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* accounts.yaml: what the values say, and where this chart has put codes and the page. */}}
{{- define "orchestrator.config" -}}
{{- $config := mergeOverwrite (deepCopy .Values.config) (include "own.config" . | fromJson) -}}
{{- if not (hasKey $config "qr_dir") -}}
{{- $_ := set $config "qr_dir" "$RUNTIME_DIRECTORY/qr" -}}
{{- end -}}
{{- if .Values.page.enabled -}}
{{- if hasKey $config "http" -}}
{{- if hasKey $config.http "listen" -}}{{- fail "config.http.listen: page.port and page.expose say where the page listens" -}}{{- end -}}
{{- else -}}
{{- $_ := set $config "http" dict -}}
{{- end -}}
{{- $host := ternary "0.0.0.0" "127.0.0.1" (default false .Values.page.expose) -}}
{{- $_ := set $config.http "listen" (printf "%s:%d" $host (int .Values.page.port)) -}}
{{- if and .Values.page.publicUrl (not (hasKey $config.http "public_url")) -}}
{{- $_ := set $config.http "public_url" .Values.page.publicUrl -}}
{{- end -}}
{{- if and .Values.page.expose (not (hasKey $config.http "allowed_hosts")) -}}
{{- $name := include "orchestrator.fullname" . -}}
{{- $_ := set $config.http "allowed_hosts" (list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}
