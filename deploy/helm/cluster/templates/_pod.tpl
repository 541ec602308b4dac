{{- /* Made by scripts/charts from deploy/helm/single. */ -}}
{{/* The pod, for the StatefulSet of each chart; `own.*` is what only that chart has. */}}
{{- define "orchestrator.pod" -}}
metadata:
  labels:
    {{- include "orchestrator.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or .Values.restartOnChange .Values.podAnnotations }}
  annotations:
    {{- if .Values.restartOnChange }}
    checksum/config: {{ include "orchestrator.config" . | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
spec:
  serviceAccountName: {{ include "orchestrator.fullname" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- if .Values.userNamespace }}
  hostUsers: false
  {{- end }}
  terminationGracePeriodSeconds: {{ int .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ quote . }}
  {{- end }}
  securityContext:
    {{- include "orchestrator.podSecurity" . | nindent 4 }}
  containers:
    - name: orchestrator
      image: {{ include "orchestrator.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run]
      {{- with .Values.env }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if and .Values.page.enabled .Values.page.expose }}
      ports:
        - name: http
          containerPort: {{ .Values.page.port }}
          protocol: TCP
      {{- end }}
      # Whether the service answers, and nothing else: a restart helps no account, and costs all of them.
      startupProbe:
        exec:
          command: [orchestrator, ping]
        periodSeconds: 3
        timeoutSeconds: 20
        failureThreshold: 60
      readinessProbe:
        exec:
          command: [orchestrator, ping]
        periodSeconds: 20
        timeoutSeconds: 20
        failureThreshold: 3
      livenessProbe:
        exec:
          command: [orchestrator, ping]
        periodSeconds: 30
        timeoutSeconds: 45
        failureThreshold: 4
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- include "orchestrator.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - name: state
          mountPath: /var/lib/orchestrator
        - name: config
          mountPath: /etc/orchestrator
          readOnly: true
        {{- range include "own.secrets" . | fromJsonArray }}
        - name: secret-{{ . }}
          mountPath: /etc/orchestrator-secrets/{{ . }}
          readOnly: true
        {{- end }}
        - name: tmp
          mountPath: /tmp
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with concat (include "own.tolerations" . | fromJsonArray) .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "own.pod" . | nindent 2 }}
  volumes:
    - name: config
      configMap:
        name: {{ include "orchestrator.fullname" . }}
        defaultMode: 0440
    {{- range include "own.secrets" . | fromJsonArray }}
    - name: secret-{{ . }}
      secret:
        secretName: {{ . }}
        defaultMode: 0400
    {{- end }}
    - name: tmp
      emptyDir:
        medium: Memory
        sizeLimit: 256Mi
    {{- include "own.volumes" . | nindent 4 }}
{{- end -}}

{{- define "orchestrator.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.user }}
runAsUser: {{ int . }}
runAsGroup: {{ int . }}
fsGroup: {{ int . }}
# Kubernetes then changes the volume once, and leaves the modes of the sessions alone.
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "orchestrator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
